"""The clock that bills are judged by goes on while this machine sleeps, and a gap is held against nobody."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nima.wire.jobs import PROTOCOL, Job, JobResult
from requestor.backends.attempt import Attempt
from requestor.backends.base import Outcome, Provider, Task
from requestor.backends.board import Board
from requestor.money.accounts import Accounts
from requestor.money.amounts import Price
from requestor.money.clock import Clock
from requestor.records.ledger import Ledger


class Machine:
    """Three clocks of a machine that can sleep, be paused as a virtual machine, and have its time set."""

    def __init__(self) -> None:
        self.awake = self.boot = self.wall = 1000.0
        self.clock = Clock(lambda: self.awake, lambda: self.boot, lambda: self.wall)

    def work(self, seconds: float) -> None:
        self.awake += seconds
        self.boot += seconds
        self.wall += seconds

    def sleep(self, seconds: float) -> None:
        self.boot += seconds
        self.wall += seconds

    def pause(self, seconds: float) -> None:
        self.wall += seconds


@pytest.mark.parametrize("gap", ["sleep", "pause"])
def test_a_bill_for_the_time_of_a_gap_is_not_excessive(gap: str, tmp_path: Path) -> None:
    machine, price = Machine(), Price(Decimal(0), Decimal("0.001"), Decimal(0))
    accounts = Accounts(Decimal(100), Ledger(tmp_path / "ledger.jsonl"), machine.clock)
    assert accounts.hire("agreement", price, 1)
    accounts.open("activity", "agreement")
    machine.work(60)
    getattr(machine, gap)(8 * 3600)
    bill = price.at_full_load(60 + 8 * 3600, 1)
    accounts.report("activity", bill)
    assert accounts.too_dear("activity") is None
    assert accounts.allows("agreement", bill)
    assert not accounts.allows("agreement", 2 * bill)


STEPS = st.lists(st.tuples(st.sampled_from(["work", "sleep", "pause", "set"]), st.floats(-1e5, 1e5)), max_size=20)


@given(STEPS)
def test_the_clock_never_goes_backwards_and_no_time_is_lost(steps: list[tuple[str, float]]) -> None:
    machine, passed, gaps = Machine(), 0.0, 0.0
    for kind, seconds in steps:
        before = machine.clock()
        if kind == "set":
            machine.wall += seconds
        else:
            getattr(machine, kind)(abs(seconds))
            passed += abs(seconds)
            gaps += abs(seconds) if kind != "work" else 0
        assert machine.clock() >= before
        assert machine.clock() >= passed - 1e-3
        assert machine.clock.asleep() >= gaps - 1e-3


TASK = Task(Job(PROTOCOL, "evaluate", "job-1", "n", "/", "0" * 64, ("0" * 64,), None, 0), (), None, 10.0, 1000)


@pytest.mark.parametrize(
    ("claimed", "measured"), [(200.0, 200.0), (1.0, 30.0), (1e9, 30.0 + 3600.0)], ids=["honest", "too fast", "too slow"]
)
def test_work_in_a_gap_takes_as_long_as_the_provider_says_if_that_is_possible(
    claimed: float, measured: float, tmp_path: Path
) -> None:
    machine, outcomes = Machine(), list[Outcome]()
    board = Board()
    board.complete = outcomes.append  # type: ignore[method-assign]
    ledger = Ledger(tmp_path / "ledger.jsonl")
    attempt = Attempt(board, ledger, "agreement", Provider("0x1", "fox"), TASK, machine.clock)
    machine.work(30)
    assert not attempt.slept
    machine.sleep(3600)
    assert attempt.slept
    attempt.succeed(JobResult(PROTOCOL, "job-1", "evaluate", True, None, 5, claimed), None, None, {})
    assert outcomes[0].seconds == pytest.approx(measured)
