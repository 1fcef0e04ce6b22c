"""Runs a devnet: chain, hub, image host, the requestor's daemon, and providers with one agent each.

All of these are child processes of the process that runs `Network.start`, and end when it ends.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path

from requestor.devnet.faults import parse_faults
from requestor.devnet.provider import AgentSettings, provider_name, provider_prices
from requestor.devnet.services import (
    Chain,
    ChainUnavailable,
    ChildProcess,
    Daemon,
    DaemonSettings,
    Hub,
    ImageHost,
    Ports,
)
from requestor.devnet.state import PLATFORM, ChainState, Devnet, NodeState, devnet_folder, process_started
from requestor.errors import DevnetError
from requestor.image import python_in_labels
from requestor.vm import PYTHON_IN_SANDBOX, ImageCache, Sandbox, SandboxLayout, UnpackedImage

REQUESTOR_FUNDS = Decimal(1000)
MAX_PROVIDERS = 50

OnProgress = Callable[[str], None]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class NetworkOptions:
    """Describes the devnet to start. Raises DevnetError if it cannot be one.

    Attributes:
        name: name of the devnet and of its folder.
        providers: number of providers.
        subnet: the subnet of all nodes; if empty, `devnet-` and the name.
        funded: True if the requestor's wallet gets GLM.
        agent: fields of `AgentSettings` that every provider gets instead of the defaults, such as `idle_seconds` or
            `terms`.
        faults: as `parse_faults` takes them; the last providers have them, in that order.
        image: path of the image in which tasks run; if empty, they run on this machine's own system.
        image_environment: True if programs get the image's ENV.
        overhead: CPU time that the VM of every provider takes beside the tasks' programs, as a share of theirs.
        owner: process id of the program that starts the devnet, if it is for that program alone: the devnet ends with
            it, and no other program uses the devnet unless it is named; 0 for a devnet that is for everybody.
    """

    name: str
    providers: int = 3
    subnet: str = ""
    funded: bool = True
    agent: dict[str, object] | None = None
    faults: str = ""
    image: str = ""
    image_environment: bool = False
    overhead: float = 0.0
    owner: int = 0

    def __post_init__(self) -> None:
        devnet_folder(self.name)
        if not 1 <= self.providers <= MAX_PROVIDERS:
            raise DevnetError(f"A devnet has 1 to {MAX_PROVIDERS} providers, not {self.providers}.")
        faulty = len(parse_faults(self.faults))
        if faulty > self.providers:
            raise DevnetError(f"There are {faulty} faults for {self.providers} providers; each has one at most.")

    def fault_of(self, index: int) -> str:
        """Returns the fault of the provider with this number (from 0); empty for an honest one."""
        faults = parse_faults(self.faults)
        first = self.providers - len(faults)
        return faults[index - first] if index >= first else ""


class _Provider:
    """Runs a provider's daemon and its agent."""

    def __init__(self, name: str, daemon: Daemon, settings: AgentSettings, log: Path) -> None:
        self.name, self.daemon, self.fault = name, daemon, settings.fault
        folder = Path(settings.folder)
        self._report, config = folder / "agent.json", folder / "config.json"
        folder.mkdir(parents=True)
        settings.save(config)
        self.agent = ChildProcess(
            f"The agent of {name}", [sys.executable, "-m", "requestor.devnet.provider.agent", str(config)], log=log
        )

    async def start_agent(self) -> None:
        async def offering() -> bool:
            return self._report.exists()

        await self.agent.start(offering, timeout=60)

    async def stop(self) -> None:
        await self.agent.stop()
        await self.daemon.stop()


class Network:
    """Runs the processes of one devnet.

    requestor: the requestor's daemon; None before it was started.
    """

    def __init__(self, options: NetworkOptions) -> None:
        self.options = options
        self.folder = devnet_folder(options.name)
        self._logs = self.folder / "logs"
        self._ports = Ports()
        self._chain: Chain | None = None
        self._hub: Hub | None = None
        self._images: ImageHost | None = None
        self._image: UnpackedImage | None = None
        self.requestor: Daemon | None = None
        self._providers: list[_Provider] = []

    async def start(self, on_progress: OnProgress = lambda _: None) -> Devnet:
        """Starts everything; returns when all providers have published their offers.

        Raises DevnetError, after it has stopped what it had started.
        """
        try:
            return await self._start(on_progress)
        except BaseException:
            await self.stop()
            raise

    async def _start(self, on_progress: OnProgress) -> Devnet:
        self._hub = Hub(self._ports.take(), log=self._logs / "hub.log")
        if self.options.image:
            on_progress("image")
            self._image = await ImageCache(self._image_folder).unpack(Path(self.options.image))
        self._images = ImageHost(self._ports.take(), self._image.info if self._image else None)
        chain = Chain(self._ports.take(), log=self._logs / "chain.log")
        on_progress("chain, hub and image host")
        await asyncio.gather(
            self._start_chain(chain, on_progress), self._hub.start(), self._images.start(), self._try_sandbox()
        )
        payments = self._chain.payments_toml() if self._chain else None
        self.requestor = self._daemon("requestor", payments)
        subnet = self.options.subnet or f"devnet-{self.options.name}"
        for index in range(self.options.providers):
            name = provider_name(index)
            daemon = self._daemon(name, payments)
            settings = AgentSettings(
                name=name,
                subnet=subnet,
                platform=PLATFORM,
                api_url=daemon.api_url,
                gsb_url=daemon.gsb_url,
                app_key=daemon.settings.app_key,
                folder=str(self.folder / "agents" / name),
                coefficients=provider_prices(index),
                fault=self.options.fault_of(index),
                images=str(self._image_folder) if self._image else "",
                image_environment=self.options.image_environment,
                overhead=self.options.overhead,
            )
            settings = AgentSettings.from_json({**asdict(settings), **(self.options.agent or {})})
            self._providers.append(_Provider(name, daemon, settings, self._logs / f"{name}.agent.log"))
        on_progress(f"daemons of the requestor and {self.options.providers} providers")
        await asyncio.gather(
            self._start_requestor(), *(provider.daemon.start(timeout=60) for provider in self._providers)
        )
        on_progress("agents of the providers")
        await asyncio.gather(*(provider.start_agent() for provider in self._providers))
        devnet = self._state(subnet)
        devnet.save()
        return devnet

    async def _try_sandbox(self) -> None:
        """Boots a sandbox once, so that a machine without sandboxes fails here and not in every task."""
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            layout = SandboxLayout.of_image(self._image.root, {}) if self._image else SandboxLayout.of_host({})
            sandbox = await Sandbox.boot(layout, Path(folder))
            await sandbox.stop()

    async def _start_chain(self, chain: Chain, on_progress: OnProgress) -> None:
        try:
            await chain.start()
        except ChainUnavailable as error:
            on_progress(f"{error} Allocations are not checked, and nothing is settled.")
        else:
            self._chain = chain

    async def _start_requestor(self) -> None:
        assert self.requestor is not None
        await self.requestor.start(timeout=60)
        if self._chain is not None:
            glm = REQUESTOR_FUNDS if self.options.funded else Decimal(0)
            await self._chain.fund(self.requestor.node_id, glm=glm)

    async def watch(self) -> None:
        """Waits until a part that the devnet needs has ended, and raises DevnetError then.

        The devnet does not need any of its providers.
        """
        parts = [part.process for part in (self._chain, self._hub, self.requestor) if part is not None]
        waits = {asyncio.ensure_future(process.wait()): process for process in parts if process is not None}
        done, pending = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in pending:
            wait.cancel()
        raise DevnetError(f"{waits[done.pop()].name} has ended. See {self._logs}.")

    async def stop(self) -> None:
        """Stops all processes of the devnet."""
        parts = [*self._providers, self.requestor, self._hub, self._chain, self._images]
        # agents first, because at their end they still break their agreements through their daemons
        await asyncio.gather(*(provider.agent.stop() for provider in self._providers), return_exceptions=True)
        await asyncio.gather(*(part.stop() for part in parts if part is not None), return_exceptions=True)
        self._ports.close()

    def _daemon(self, name: str, payments: str | None) -> Daemon:
        assert self._hub is not None
        settings = DaemonSettings(
            folder=self.folder / "daemons" / name,
            log=self._logs / f"{name}.log",
            api_port=self._ports.take(),
            gsb_port=self._ports.take(),
            hub_port=self._hub.port,
            app_key=secrets.token_hex(16),
            identity_secret=secrets.token_hex(32),
            payments=payments,
        )
        return Daemon(settings, name=f"The daemon of {name}")

    def _state(self, subnet: str) -> Devnet:
        assert self.requestor is not None
        assert self._images is not None
        started = process_started(os.getpid())
        assert started is not None
        return Devnet(
            name=self.options.name,
            folder=str(self.folder),
            pid=os.getpid(),
            pid_started=started,
            subnet=subnet,
            requestor=_node("requestor", self.requestor),
            providers=tuple(_node(provider.name, provider.daemon, provider.fault) for provider in self._providers),
            chain=ChainState(self._chain.node.url, self._chain.token.address) if self._chain else None,
            image_url=self._images.url,
            image_hash=self._images.sha3,
            image_file=str(self._image.info.path) if self._image else "",
            python=python_in_labels(self._image.info.labels) if self._image else PYTHON_IN_SANDBOX,
            owner=self.options.owner,
        )

    @property
    def _image_folder(self) -> Path:
        return self.folder / "images"


def _node(name: str, daemon: Daemon, fault: str = "") -> NodeState:
    settings = daemon.settings
    urls = daemon.api_url, daemon.gsb_url
    return NodeState(name, daemon.node_id, *urls, settings.app_key, str(settings.folder), fault)
