"""Runs a real yagna daemon of a devnet, on the loopback interface, with its own wallet and app-key."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from requestor.devnet.services.ports import ensure_free
from requestor.devnet.services.process import ChildProcess
from requestor.errors import DevnetError, GolemError
from requestor.golem import DaemonClient

_KEPT_VARIABLES = ("PATH", "HOME", "LANG", "TMPDIR", "RUST_LOG")
_NO_RELAY = "127.0.0.1:1"  # no relay listens there; a daemon in a central network never asks one


def find_yagna() -> Path:
    """Returns the `yagna` program: the one of this Python environment (package `golem-node`), or else of PATH.

    Raises:
        DevnetError: there is none.
    """
    beside = Path(sys.executable).parent / "yagna"
    if beside.is_file():
        return beside
    found = shutil.which("yagna")
    if found is None:
        raise DevnetError("The yagna daemon is not installed; `pip install golem-node` brings it.")
    return Path(found).resolve()


@dataclass(frozen=True)
class DaemonSettings:
    """Names the folder, ports and keys of a daemon.

    Attributes:
        folder: its data directory.
        log: its log file.
        api_port, gsb_port: TCP ports of its REST interface and of its service bus.
        hub_port: TCP port of the devnet's hub.
        app_key: the key that its REST interface asks for.
        identity_secret: the private key of its node, 64 hex digits.
        payments: contents of `config-payments.toml` (`Chain.payments_toml`); None for a daemon that signs allocations
            without looking at a chain, and settles nothing.
    """

    folder: Path
    log: Path
    api_port: int
    gsb_port: int
    hub_port: int
    app_key: str
    identity_secret: str
    payments: str | None = None


class Daemon:
    """Runs one yagna daemon. Raises DevnetError if the program is not installed.

    Attributes:
        node_id: its Golem address, 0x and 40 hex digits; empty before `start`.
    """

    def __init__(self, settings: DaemonSettings, *, name: str = "yagna") -> None:
        self.settings = settings
        self.node_id = ""
        self.process = ChildProcess(
            name,
            [str(find_yagna()), "service", "run", "--disable-metrics-push"],
            log=settings.log,
            environment=self._environment(),
            folder=settings.folder,  # yagna reads a `.env` file from the folder in which it is started
        )

    @property
    def api_url(self) -> str:
        """Returns the URL of the daemon's REST interface."""
        return f"http://127.0.0.1:{self.settings.api_port}"

    @property
    def gsb_url(self) -> str:
        """Returns the URL of the daemon's service bus."""
        return f"tcp://127.0.0.1:{self.settings.gsb_port}"

    def environment(self) -> dict[str, str]:
        """Returns the environment variables that a program needs to use this daemon."""
        return {
            "YAGNA_APPKEY": self.settings.app_key,
            "YAGNA_API_URL": self.api_url,
            "GSB_URL": self.gsb_url,
            "YAGNA_DATADIR": str(self.settings.folder),
        }

    def _environment(self) -> dict[str, str]:
        settings = self.settings
        environment = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
        environment |= self.environment()
        environment |= {
            "YAGNA_AUTOCONF_APPKEY": settings.app_key,
            "YAGNA_AUTOCONF_ID_SECRET": settings.identity_secret,
            "YA_NET_TYPE": "central",
            "CENTRAL_NET_HOST": f"127.0.0.1:{settings.hub_port}",
            "YA_NET_RELAY_HOST": _NO_RELAY,
            "YA_CONSENT_STATS": "deny",
            # a node listens to offers only after its first demand; these settings make it hear them soon after that
            "MEAN_CYCLIC_BCAST_INTERVAL": "1s",
            "OFFER_BROADCAST_DELAY": "0s",
            "PAYMENT_CYCLE_DEFAULT_INTERVAL": "20s",
            "PAYMENT_CYCLE_DEFAULT_EXTRA_PAY_TIME": "10s",
        }
        if settings.payments is None:
            environment["YAGNA_DEV_SKIP_ALLOCATION_VALIDATION"] = "1"
        return environment

    async def start(self, *, timeout: float = 30.0) -> None:
        """Starts the daemon and waits until its REST interface knows the app-key.

        Raises:
            DevnetError: a port is taken, or the daemon ends or is not ready within `timeout` seconds.
        """
        for port in (self.settings.api_port, self.settings.gsb_port):
            ensure_free(port, self.process.name)
        self.settings.folder.mkdir(parents=True, exist_ok=True)
        if self.settings.payments is not None:
            (self.settings.folder / "config-payments.toml").write_text(self.settings.payments)
        async with DaemonClient(self.api_url, self.settings.app_key, timeout=5.0) as client:

            async def ready() -> bool:
                try:
                    self.node_id = await client.identity()
                except GolemError:
                    return False
                return True

            await self.process.start(ready, timeout=timeout)

    async def stop(self) -> None:
        """Stops the daemon."""
        await self.process.stop()
