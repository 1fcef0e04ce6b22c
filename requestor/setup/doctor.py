"""Checks the whole set-up, from the installed programs to the image that providers run, without spending money.

Each check reports its finding and, if there is a problem, what to do. A check that needs something that an earlier
check did not find is skipped, and reports that it was skipped.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from nima.safe_io import cache_folder, data_folder
from nima.version import VERSION
from nima.wire import PROTOCOL, named_version
from requestor.devnet import Devnet, running_devnets
from requestor.devnet.services import find_yagna
from requestor.errors import AppKeyMissing, DaemonUnreachable, DevnetError, GolemError, RequestorError
from requestor.golem import TOKEN_OF_NETWORK, DaemonClient, GolemConnection, chosen_subnet, is_real_money
from requestor.setup.environment import golem_environment
from requestor.setup.finding import SetupFinding
from requestor.setup.funds import payment_status, run_program
from requestor.setup.image import look_at_image
from requestor.vm import Sandbox, SandboxLayout

GIB = 2**30
# Free bytes with which the disk is fine, and below which it blocks a run. The shards of all of AVA have 6 GB, those of
# tiny-AVA some megabytes.
ENOUGH_DISK, LEAST_DISK = 5 * GIB, 1 * GIB
PACKAGES = ("torch", "torchvision", "yapapi", "golem-node")


@dataclass(frozen=True)
class GolemSetup:
    """Holds the set-up to check.

    environment: the environment variables that name the Golem to use.
    devnet: the running devnet that they name; None if they name another Golem.
    connection: the daemon and the payment network.
    """

    environment: dict[str, str]
    devnet: Devnet | None
    connection: GolemConnection

    @classmethod
    def of_environment(cls, network: str | None) -> GolemSetup:
        """Reads the set-up from the environment.

        Raises DevnetError if several devnets run and nothing tells which one is meant.

        Args:
            network: payment network; None for that of the environment.
        """
        environment = golem_environment()
        connection = GolemConnection.from_environment(environment, network, require_app_key=False)
        urls = {running.requestor.api_url: running for running in running_devnets()}
        return cls(environment, urls.get(connection.api_url), connection)

    @property
    def network(self) -> str:
        """Returns the payment network."""
        return self.connection.network


async def check_setup(setup: GolemSetup, download_image: bool = False) -> AsyncIterator[SetupFinding]:
    """Yields all findings, in the order in which a new user would repair them.

    Args:
        setup: the set-up to check.
        download_image: True downloads an image that is not on this machine, to check its hash.
    """
    yield _folders()
    yield _versions()
    yield await _yagna()
    yield _network(setup)
    address, findings = await _daemon(setup)
    for finding in findings:
        yield finding
    yield await _funds(setup, address)
    yield _gftp()
    async for finding in look_at_image(setup.environment, setup.devnet is not None, download_image):
        yield finding
    yield _disk()
    async for finding in _devnet():
        yield finding


def _folders() -> SetupFinding:
    """Checks that the folders for settings, data and cached files can be written, or made."""
    folders = {"data": data_folder(), "cache": cache_folder()}
    for what, folder in folders.items():
        there = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
        if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
            return SetupFinding(
                "folders",
                "blocked",
                f"The folder for {what}, {folder}, cannot be written.",
                "set HOME to a folder that you may write, or XDG_DATA_HOME and NIMA_GOLEM_CACHE",
            )
    return SetupFinding("folders", "ok", ", ".join(f"{what} in {folder}" for what, folder in folders.items()))


def _versions() -> SetupFinding:
    installed, missing = [], []
    for name in PACKAGES:
        try:
            installed.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    ours = f"{named_version(PROTOCOL, VERSION)}, Python {platform.python_version()}, {', '.join(installed)}"
    if missing:
        return SetupFinding("versions", "blocked", f"{ours}; without {', '.join(missing)}", "pip install nima-golem")
    return SetupFinding("versions", "ok", ours)


async def _yagna() -> SetupFinding:
    try:
        program = find_yagna()
        code, stdout, stderr = await run_program([str(program), "--version"])
    except DevnetError as error:
        return SetupFinding("yagna", "blocked", str(error), "pip install golem-node")
    except OSError as error:
        return SetupFinding(
            "yagna",
            "blocked",
            f"{program} does not run: {error.strerror or error}.",
            "pip install --force-reinstall golem-node",
        )
    if code != 0:
        return SetupFinding(
            "yagna", "blocked", f"{program} does not run: {stderr}", "pip install --force-reinstall golem-node"
        )
    return SetupFinding("yagna", "ok", f"{program}, {stdout.strip()}")


def _network(setup: GolemSetup) -> SetupFinding:
    network = setup.network
    if network not in TOKEN_OF_NETWORK:
        return SetupFinding(
            "network",
            "blocked",
            f"{network} is not a known network. The known ones are {', '.join(TOKEN_OF_NETWORK)}.",
            "set YAGNA_PAYMENT_NETWORK",
        )
    if network == "holesky":
        return SetupFinding("network", "warning", "holesky has been shut down.", "pass --network hoodi")
    money = "real money" if is_real_money(network) else "test money"
    subnet = chosen_subnet(setup.environment)
    where = f"the devnet {setup.devnet.name}" if setup.devnet else f"subnet {subnet}"
    return SetupFinding("network", "ok", f"{network}: {money} ({_token(network)}); {where}")


def _token(network: str) -> str:
    return "GLM" if is_real_money(network) else "tGLM"


async def _daemon(setup: GolemSetup) -> tuple[str | None, list[SetupFinding]]:
    """Checks that the daemon answers and knows the app key.

    Returns the wallet's address, None if it is not known, and the findings.
    """
    url, app_key = setup.connection.api_url, setup.connection.app_key
    start = "start a local Golem with `nima-golem devnet up --detach`, or your own daemon with `yagna service run`"
    key = "make one with `yagna app-key create nima-golem` and set YAGNA_APPKEY"
    if setup.network not in TOKEN_OF_NETWORK:
        return None, [SetupFinding("daemon", "skipped", "The network is unknown.")]
    try:
        async with DaemonClient(url, app_key) as daemon:
            address = await daemon.identity()
            version = (await daemon.request("GET", "/version/get"))["current"]["version"]
    except DaemonUnreachable:
        known = "set" if app_key else "not set"
        return None, [
            SetupFinding("daemon", "blocked", f"No yagna daemon answers at {url}.", start),
            SetupFinding("app key", "skipped", f"YAGNA_APPKEY is {known}. Only a daemon can check it."),
        ]
    except AppKeyMissing:
        said = f"The daemon at {url} does not know the app key." if app_key else "No app key is set."
        return None, [SetupFinding("daemon", "ok", f"answers at {url}"), SetupFinding("app key", "blocked", said, key)]
    except GolemError as error:
        return None, [SetupFinding("daemon", "blocked", str(error), "read the daemon's log")]
    except (KeyError, TypeError):
        return None, [
            SetupFinding(
                "daemon", "blocked", f"The program that answers at {url} is not a yagna daemon.", "set YAGNA_API_URL"
            )
        ]
    return address, [
        SetupFinding("daemon", "ok", f"yagna {version} answers at {url}"),
        SetupFinding("app key", "ok", f"is good; node {address}"),
    ]


async def _funds(setup: GolemSetup, address: str | None) -> SetupFinding:
    if address is None:
        return SetupFinding("funds", "skipped", "Only a daemon can check this.")
    if setup.devnet is not None and setup.devnet.chain is None:
        return SetupFinding("funds", "ok", "The devnet has no chain: every budget is accepted, and nothing is settled.")
    network = setup.network
    fund = (
        f"send {_token(network)} and some gas to {address}"
        if is_real_money(network)
        else f"`yagna payment fund --network {network}`, or on a devnet start it without --unfunded"
    )
    try:
        status = await payment_status(setup.environment, setup.network, address)
        amount, gas = Decimal(status["amount"]), Decimal((status.get("gas") or {}).get("balance", 1))
    except (RequestorError, OSError, ValueError, KeyError, TypeError, ArithmeticError) as error:
        return SetupFinding(
            "funds", "warning", f"The balance is not known: {error}", f"yagna payment status --network {network}"
        )
    held = f"{amount:f} {_token(network)} on {network}, {gas:f} gas, at {address}"
    if amount <= 0 or gas <= 0:
        return SetupFinding(
            "funds", "blocked", f"{held}: {'nothing to spend' if amount <= 0 else 'no gas to pay with'}", fund
        )
    return SetupFinding("funds", "ok", held)


def _gftp() -> SetupFinding:
    theirs = shutil.which("gftp")
    ours = "this program has its own file transfer, which never receives more than it asked for"
    return SetupFinding("gftp", "ok", f"{ours} (Golem's {theirs} is not used)" if theirs else ours)


def _disk() -> SetupFinding:
    free = shutil.disk_usage(Path.cwd()).free
    found = f"{free / GIB:.1f} GiB are free in {Path.cwd()}"
    if free >= ENOUGH_DISK:
        return SetupFinding("disk", "ok", found)
    return SetupFinding(
        "disk", "warning" if free >= LEAST_DISK else "blocked", found, "delete files, or work in another folder"
    )


async def _devnet() -> AsyncIterator[SetupFinding]:
    """Checks the sandbox and the programs that only a devnet needs."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            sandbox = await Sandbox.boot(SandboxLayout.of_host({}), Path(folder))
            await sandbox.stop()
        yield SetupFinding("devnet: sandbox", "ok", "tasks can be isolated (user namespaces, /proc)")
    except (DevnetError, OSError) as error:
        yield SetupFinding("devnet: sandbox", "warning", str(error), "only `nima-golem devnet` needs it")
    for check, program, lacking, package in (
        ("devnet: chain", "npm", "without a chain, which npm downloads, nothing is settled", "npm"),
        ("devnet: images", "unsquashfs", "`devnet up --image` does not work", "squashfs-tools"),
    ):
        found = shutil.which(program)
        if found:
            yield SetupFinding(check, "ok", found)
        else:
            yield SetupFinding(
                check, "warning", f"{program} is not installed: {lacking}.", f"install {package} if you need that"
            )
