"""Fixtures that several test files share."""

from __future__ import annotations

import asyncio
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Browser, start_browser
from hypothesis import settings
from two_daemons import TwoDaemons, daemon_settings

from nima.safe_io import cache_folder
from requestor.devnet.network import NetworkOptions
from requestor.devnet.services.chain import ANVIL, TOKEN
from requestor.devnet.services.daemons import Daemon
from requestor.devnet.services.hub import Hub
from requestor.devnet.services.npm import NpmUnavailable
from requestor.devnet.services.ports import Ports
from requestor.devnet.state import Devnet
from requestor.devnet.supervision import start_devnet, stop_devnet

# The same examples every time; no deadline, because the time of an example depends on other programs only.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.load_profile("repeatable")

# A shell lets what it runs in the background ignore Ctrl-C, and the programs under test would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def two_daemons(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoDaemons]:
    folder = tmp_path_factory.mktemp("daemons")
    loop = asyncio.new_event_loop()
    with Ports() as ports:
        hub = Hub(ports.take(), log=folder / "hub.log")
        requestor, provider = (
            Daemon(daemon_settings(folder / name, ports, hub.port)) for name in ("requestor", "provider")
        )
        try:
            loop.run_until_complete(hub.start())
            for daemon in (requestor, provider):
                loop.run_until_complete(daemon.start())
            yield TwoDaemons(requestor, provider, hub)
        finally:
            for process in (requestor, provider, hub):
                loop.run_until_complete(process.stop())
            loop.close()


LONGEST = (
    "test_image_build.py", "test_train_golem_errors.py", "test_train_golem_resume.py", "test_demo.py",
    "test_killed_runs.py", "test_train_faults.py", "test_train_local.py", "test_train_strategies.py",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in LONGEST)  # so that no worker waits for them at the end
    for item in items:
        if "two_daemons" in getattr(item, "fixturenames", ()):
            item.add_marker("golem")


@pytest.fixture(scope="session", autouse=True)
def devnets_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keeps the devnets and bans of the tests apart from the user's own, also for programs that tests start."""
    home = tmp_path_factory.mktemp("share")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(home))
        patch.delenv("NIMA_GOLEM_DEVNET", raising=False)
        yield home


@pytest.fixture(scope="session", autouse=True)
def cache_of_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keeps scores and converted models of the tests apart from the user's own; files that are fetched are shared."""
    users, cache = cache_folder(), tmp_path_factory.mktemp("cache")
    for fetched in ("images", "npm", "weights", "wheels"):
        (users / fetched).mkdir(parents=True, exist_ok=True)
        (cache / fetched).symlink_to(users / fetched)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NIMA_GOLEM_CACHE", str(cache))
        yield cache


@pytest.fixture(scope="session")
def chain_programs() -> None:
    """Fetches the programs of a devnet's own chain; skips tests of payments if they cannot be had."""
    try:
        for program in (ANVIL, TOKEN):
            asyncio.run(program.fetch())
    except NpmUnavailable as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def devnet(devnets_home: Path) -> Iterator[Devnet]:
    """Runs a devnet named `tests`: three providers with empty wallets, a requestor with 1000 tGLM."""
    running = start_devnet(NetworkOptions("tests", providers=3))
    yield running
    stop_devnet(running)


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Runs Chromium without a window."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    chromedriver = shutil.which("chromedriver")
    if chromium is None or chromedriver is None:
        pytest.skip("needs chromium and chromedriver (Debian's packages chromium and chromium-driver)")
    with start_browser(chromedriver, chromium, tmp_path_factory.mktemp("browser")) as running:
        yield running
