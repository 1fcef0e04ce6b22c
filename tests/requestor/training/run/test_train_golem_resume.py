"""A run on Golem that is killed: the same command ends what was left running, pays for it once, and continues.

Two moments are tried; with NIMA_GOLEM_EVERY_FAILURE=1 in the environment, a third one is, too.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path

import pytest
from allocations import open_allocations
from ava_folder import make_ava_folder

from requestor.devnet.settlement import requestor_wallet, settle_bills
from requestor.devnet.state import Devnet
from requestor.records.ledger import Ledger

pytestmark = pytest.mark.golem

MOMENTS = ["first task", "first round"]
if os.environ.get("NIMA_GOLEM_EVERY_FAILURE"):
    MOMENTS.append("first agreement")


def command(ava: Path, run_dir: Path) -> list[str]:
    options = ["--budget", "2GLM", "--strategy", "federate", "--rounds", "2", "--workers", "2", "--json"]
    return [
        sys.executable,
        "-m",
        "requestor.commands.main",
        "train",
        "--ava",
        str(ava),
        "--run-dir",
        str(run_dir),
        *options,
    ]


@pytest.mark.usefixtures("chain_programs")
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_run_is_ended_paid_for_once_and_finished(moment: str, tmp_path: Path, devnet: Devnet) -> None:
    ava, run_dir = make_ava_folder(tmp_path / "ava"), tmp_path / "run"
    environment = os.environ | devnet.environment()
    asyncio.run(settle_bills(devnet, 60))  # pays the debts of earlier tests
    before = asyncio.run(requestor_wallet(devnet))
    killed = subprocess.Popen(command(ava, run_dir), env=environment, stderr=subprocess.DEVNULL)
    ledger = Ledger(run_dir / "ledger.jsonl")
    deadline = time.monotonic() + 300
    while not reached(moment, ledger, run_dir):
        assert killed.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    orphans = [entry["agreement"] for entry in ledger.open_agreements()]
    assert len(orphans) > 0

    done = subprocess.run(command(ava, run_dir), env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert ("round 1/2" in done.stderr) == (moment != "first round")
    assert ledger.open_agreements() == []
    ends = ("invoice", "agreement_ended")
    closed = {entry["agreement"] for entry in ledger.entries() if entry["event"] in ends}
    assert closed >= set(orphans)
    assert open_allocations(devnet) == []
    accounts = asyncio.run(settle_bills(devnet, 60))
    assert all(account.state == "idle" for account in accounts)
    left_the_wallet = before - asyncio.run(requestor_wallet(devnet))
    assert left_the_wallet == ledger.spent() == Decimal(json.loads((run_dir / "receipt.json").read_text())["spent_glm"])


def reached(moment: str, ledger: Ledger, run_dir: Path) -> bool:
    if moment == "first round":
        state = run_dir / "state.json"
        return state.exists() and json.loads(state.read_text())["round"] >= 1
    return any(entry["event"] == moment.removeprefix("first ") for entry in ledger.entries())
