"""`nima-golem train` on a Golem with problems: one message, an exit code, and nothing left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from allocations import open_allocations
from ava_folder import make_ava_folder

from requestor.devnet.network import NetworkOptions
from requestor.devnet.services.ports import Ports
from requestor.devnet.state import Devnet
from requestor.devnet.supervision import start_devnet, stop_devnet

pytestmark = pytest.mark.golem


@pytest.fixture(scope="module")
def ava(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_ava_folder(tmp_path_factory.mktemp("data") / "ava")


@pytest.fixture(scope="module")
def penniless(devnets_home: Path) -> Iterator[Devnet]:
    """Runs a devnet whose requestor has no GLM."""
    running = start_devnet(NetworkOptions("penniless", providers=1, funded=False))
    yield running
    stop_devnet(running)


def train(ava: Path, run_dir: Path, environment: dict[str, str], *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "requestor.commands.main", "train", "--ava", str(ava), "--budget", "2GLM"]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("YAGNA", "GSB", "NIMA_GOLEM_"))}
    cache = {name: os.environ[name] for name in ("NIMA_GOLEM_CACHE",) if name in os.environ}
    return subprocess.run(
        [*command, "--run-dir", str(run_dir), *more],
        env=kept | cache | environment,
        capture_output=True,
        text=True,
        timeout=280,
    )


def complaint(done: subprocess.CompletedProcess[str], exit_code: int = 1) -> str:
    assert done.returncode == exit_code, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return done.stderr


def test_no_app_key(ava: Path, tmp_path: Path) -> None:
    nowhere = {"XDG_DATA_HOME": str(tmp_path)}  # no devnet is found there either
    assert "set YAGNA_APPKEY" in complaint(train(ava, tmp_path / "run", nowhere))


def test_no_daemon(ava: Path, tmp_path: Path) -> None:
    with Ports() as ports:
        url = f"http://127.0.0.1:{ports.take()}"
    environment = {"YAGNA_APPKEY": "secret", "YAGNA_API_URL": url, "NIMA_GOLEM_IMAGE": "hash:sha3:0:http://127.0.0.1/"}
    message = complaint(train(ava, tmp_path / "run", environment))
    assert f"No yagna daemon answers at {url}" in message
    assert "yagna service run" in message


def test_a_wrong_app_key(ava: Path, tmp_path: Path, penniless: Devnet) -> None:
    environment = penniless.environment() | {"YAGNA_APPKEY": "wrong"}
    assert "does not know this app key" in complaint(train(ava, tmp_path / "run", environment))


@pytest.mark.usefixtures("chain_programs")
def test_an_empty_wallet(ava: Path, tmp_path: Path, penniless: Devnet) -> None:
    message = complaint(train(ava, tmp_path / "run", penniless.environment()))
    assert "holds less than the budget of 2 GLM" in message
    assert penniless.requestor.node_id in message
    assert open_allocations(penniless) == []


def test_real_money_is_not_spent_without_a_yes(ava: Path, tmp_path: Path, penniless: Devnet) -> None:
    done = train(ava, tmp_path / "run", penniless.environment(), "--network", "polygon")
    assert done.returncode == 1
    assert "real money" in done.stderr
    assert not (tmp_path / "run" / "ledger.jsonl").exists()


def test_a_provider_that_cannot_do_the_work_ends_the_run_and_frees_the_money(
    ava: Path, tmp_path: Path, devnet: Devnet
) -> None:
    environment = devnet.environment() | {"NIMA_GOLEM_PYTHON": "/usr/bin/false"}
    # Only the cheapest provider comes, and is banned after two failures; the run does not wait long for others.
    done = train(ava, tmp_path / "run", environment, "--workers", "1", "--max-price", "0.45GLM")
    message = complaint(done)
    assert "Only 0 of 34 photos were embedded" in message
    assert "exited with code 1" in message
    assert open_allocations(devnet) == []


def test_nobody_under_the_price_cap_is_said_and_ctrl_c_frees_the_money(
    ava: Path, tmp_path: Path, devnet: Devnet
) -> None:
    command = [sys.executable, "-m", "requestor.commands.main", "train", "--ava", str(ava), "--budget", "2GLM"]
    running = subprocess.Popen(
        [*command, "--max-price", "0.000001GLM", "--run-dir", str(tmp_path / "run")],
        env=os.environ | devnet.environment(),
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert running.stderr is not None
    for line in running.stderr:
        if "No provider has taken the work" in line:
            break
    running.terminate()
    _, rest = running.communicate(timeout=60)
    assert "--max-price 0.000001" in line
    assert "the same command goes on" in rest
    assert running.returncode == 130
    assert open_allocations(devnet) == []
