"""A daemon that is killed in the middle of a run: the run goes on if it is back soon, or else stops and is resumed.

Usually one moment is tried, and the daemon is back after some seconds; with NIMA_GOLEM_EVERY_FAILURE=1 in the
environment, five moments are, each with a daemon that is back within a minute, and with one that stays away.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import suppress
from decimal import Decimal
from pathlib import Path

import pytest
from allocations import NOTHING, left_open
from ava_folder import make_ava_folder
from restartable_devnet import kill, restartable_devnet

from requestor.devnet.settlement import requestor_wallet, settle_bills
from requestor.devnet.state import Devnet
from requestor.records.ledger import Ledger

pytestmark = pytest.mark.golem

MOMENTS = ("before hiring", "sending files", "computing", "fetching", "collecting bills")
EVERY: list[tuple[str, float | None]] = [(moment, away) for moment in MOMENTS for away in (45, None)]
CASES = EVERY if os.environ.get("NIMA_GOLEM_EVERY_FAILURE") else [("computing", 3.0)]
LIMIT = 900  # seconds


def reached(moment: str, run_dir: Path, devnet: Devnet) -> bool:
    """Returns True if a run has come to a moment."""
    if moment == "computing":
        return any(Path(devnet.folder, "agents").glob("**/job.json"))
    if moment == "collecting bills":
        return (run_dir / "evaluation.json").exists()
    event = {"before hiring": "allocation", "sending files": "activity_created", "fetching": "task"}[moment]
    return any(entry["event"] == event for entry in Ledger(run_dir / "ledger.jsonl").entries())


async def start(devnet: Devnet, ava: Path, run_dir: Path) -> asyncio.subprocess.Process:
    """Starts a run with features of two providers."""
    options = ["--budget", "2GLM", "--strategy", "embed", "--workers", "2", "--json"]
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "requestor.commands.main", "train", "--ava", str(ava), "--run-dir", str(run_dir)),
        *options,
        env=os.environ | devnet.environment(),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )


async def end(process: asyncio.subprocess.Process) -> str:
    """Waits for the end of a run; returns what it wrote to stderr."""
    try:
        _, stderr = await asyncio.wait_for(process.communicate(), LIMIT)
    finally:
        with suppress(ProcessLookupError):
            process.kill()
    assert b"Traceback" not in stderr, stderr.decode()
    return stderr.decode()


async def paid_in_the_end(devnet: Devnet, run_dir: Path) -> Decimal:
    """Asks `runs show` until the daemon has paid all accepted bills; returns the GLM that it says are paid."""
    for _ in range(10):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "requestor.commands.main", "runs", "show", str(run_dir)),
            env=os.environ | devnet.environment(),
            stdout=asyncio.subprocess.PIPE,
        )
        stdout, _ = await process.communicate()
        ledger = Ledger(run_dir / "ledger.jsonl")
        if not ledger.unpaid_invoices():
            assert b"GLM of it are paid by now" in stdout
            break
        await asyncio.sleep(1)
    return sum((receipt.settled_glm for receipt in ledger.receipts()), Decimal(0))


async def collect_late_bills(devnet: Devnet, ava: Path, run_dir: Path) -> None:
    """Gives the same command until all bills have come: providers send them again ever less often, as on Golem."""
    for _ in range(6):
        if not Ledger(run_dir / "ledger.jsonl").open_agreements():
            return
        await asyncio.sleep(20)
        process = await start(devnet, ava, run_dir)
        stderr = await end(process)
        assert process.returncode == 0, stderr
    raise AssertionError("bills are missing")


async def lose_the_daemon(moment: str, away: float | None, ava: Path, run_dir: Path) -> None:
    """Kills the daemon at a moment; starts it again after `away` seconds, or with None after the end of the run."""
    async with restartable_devnet("restarted") as (devnet, daemon):
        before = await requestor_wallet(devnet)
        process = await start(devnet, ava, run_dir)
        while not reached(moment, run_dir, devnet):
            assert process.returncode is None, await end(process)
            await asyncio.sleep(0.02)
        await kill(daemon)
        if away is None:
            stderr = await end(process)
            finished = (run_dir / "summary.json").exists()
            assert process.returncode == (0 if finished else 1), stderr
            assert finished or "resume" in stderr or "the same command" in stderr, stderr
            await daemon.start()
            process = await start(devnet, ava, run_dir)
        else:
            await asyncio.sleep(away)
            await daemon.start()
        stderr = await end(process)
        assert process.returncode == 0, stderr
        await collect_late_bills(devnet, ava, run_dir)
        assert await left_open(devnet) == NOTHING
        await settle_bills(devnet, 60)
        after = await requestor_wallet(devnet)
        assert before is not None
        assert after is not None
        assert before - after == Ledger(run_dir / "ledger.jsonl").spent()
        assert await paid_in_the_end(devnet, run_dir) == before - after
        assert before - after == Decimal(json.loads((run_dir / "receipt.json").read_text())["spent_glm"])


@pytest.mark.timeout(LIMIT + 120)
@pytest.mark.usefixtures("chain_programs")
@pytest.mark.parametrize(("moment", "away"), CASES)
def test_a_run_survives_its_daemon(moment: str, away: float | None, tmp_path: Path) -> None:
    asyncio.run(lose_the_daemon(moment, away, make_ava_folder(tmp_path / "ava"), tmp_path / "run"))
