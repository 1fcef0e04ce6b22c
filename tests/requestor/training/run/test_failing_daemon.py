"""A daemon whose requests fail: the run goes on, ends with its model, pays once, and leaves nothing open.

Every kind of request fails in one run. Usually one way is tried, in which the daemon carries out the request and its
answer is lost; with NIMA_GOLEM_EVERY_FAILURE=1 in the environment, all ways are, once and five times, and several
kinds one after another.
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
from failing_daemon import REQUESTS, WAYS, FailingDaemon, Rule, Way

from requestor.devnet.settlement import requestor_wallet, settle_bills
from requestor.devnet.state import Devnet
from requestor.records.ledger import Ledger

pytestmark = pytest.mark.golem

ALL = slice(None)
EVERY: list[tuple[Way, int, slice]] = [(way, times, ALL) for way in WAYS for times in (1, 5)]
EVERY.remove(("hang", 5, ALL))
EVERY += [("hang", 5, slice(part, None, 4)) for part in range(4)]  # all in one run would take an hour
EVERYTHING = bool(os.environ.get("NIMA_GOLEM_EVERY_FAILURE"))
CASES = EVERY if EVERYTHING else [("late", 1, ALL)]
APIS = "/(market|payment|activity)-api/"
MIXED = {  # requests of several kinds that fail one after another, after some that succeed
    "events of the demand": [Rule("GET", "/demands/[^/]+/events$", "error")],
    "too many requests": [Rule("", APIS, "busy", 4, skip=6)],
    "a proxy": [Rule("", APIS, "bad gateway", 6, skip=8)],
    "bills": [Rule("GET", "/debitNoteEvents$", "error", 2), Rule("GET", "/invoiceEvents$", "error", 2)],
    "an activity": [Rule("POST", "/activity-api/v1/activity$", "error")],
}
LIMIT = 1800  # seconds; five requests of each kind that hang take long


async def train(devnet: Devnet, rules: list[Rule], ava: Path, run_dir: Path) -> tuple[int, str]:
    """Trains behind a failing daemon; returns the exit code and stderr."""
    command = [sys.executable, "-m", "requestor.commands.main", "train", "--ava", str(ava), "--run-dir", str(run_dir)]
    options = ["--budget", "2GLM", "--strategy", "embed", "--workers", "2", "--json"]
    async with FailingDaemon.before(devnet.requestor.api_url, rules) as proxy:
        process = await asyncio.create_subprocess_exec(
            *command,
            *options,
            env=os.environ | devnet.environment() | {"YAGNA_API_URL": f"{proxy.url}/"},
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            _, stderr = await asyncio.wait_for(process.communicate(), LIMIT)
        finally:
            with suppress(ProcessLookupError):
                process.kill()
    return process.returncode or 0, stderr.decode()


@pytest.mark.timeout(LIMIT + 120)
@pytest.mark.usefixtures("chain_programs")
@pytest.mark.parametrize(("way", "times", "part"), CASES)
def test_each_kind_of_request_fails(way: Way, times: int, part: slice, tmp_path: Path, devnet: Devnet) -> None:
    rules = [Rule(method, path, way, times) for method, path in REQUESTS[part]]
    survives(rules, tmp_path, devnet)
    assert sum(rule.hits for rule in rules) > len(rules) // 2


@pytest.mark.usefixtures("chain_programs")
@pytest.mark.skipif(not EVERYTHING, reason="is tried with NIMA_GOLEM_EVERY_FAILURE=1")
@pytest.mark.timeout(LIMIT + 120)
@pytest.mark.parametrize("what", MIXED)
def test_requests_of_several_kinds_fail(what: str, tmp_path: Path, devnet: Devnet) -> None:
    survives(MIXED[what], tmp_path, devnet)
    assert all(rule.hits for rule in MIXED[what])


def survives(rules: list[Rule], tmp_path: Path, devnet: Devnet) -> None:
    """Trains while requests fail; checks that the run ends with its model, pays once, and leaves nothing open."""
    asyncio.run(settle_bills(devnet, 60))  # pays the debts of earlier tests
    before = asyncio.run(requestor_wallet(devnet))
    ava, run_dir = make_ava_folder(tmp_path / "ava"), tmp_path / "run"
    code, stderr = asyncio.run(train(devnet, rules, ava, run_dir))
    assert code == 0, stderr
    assert asyncio.run(left_open(devnet)) == NOTHING
    asyncio.run(settle_bills(devnet, 60))
    left_the_wallet = before - asyncio.run(requestor_wallet(devnet))
    assert left_the_wallet == Ledger(run_dir / "ledger.jsonl").spent()
    assert left_the_wallet == Decimal(json.loads((run_dir / "receipt.json").read_text())["spent_glm"])
