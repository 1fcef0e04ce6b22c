"""A run that is longer than an agreement may last: nine hours in virtual time, with tasks of a quarter of an hour."""

from __future__ import annotations

import random
from decimal import Decimal
from pathlib import Path

import pytest
from simulated_golem import Conduct, Market, SimulatedGolem, VirtualTime

from nima.wire.jobs import PROTOCOL, Job
from requestor.backends.base import Outcome, Task
from requestor.backends.golem import GolemBackend
from requestor.backends.hired import GolemSettings
from requestor.golem import LONGEST_TASK, agreements_for
from requestor.golem.networks import GolemConnection
from requestor.money.accounts import Accounts
from requestor.money.amounts import Price
from requestor.records.ledger import Ledger

HOURS = 9
LIMIT = 900.0


def task(name: str, seconds: float = LIMIT) -> Task:
    return Task(Job(PROTOCOL, "embed", name, "n", "/", "0" * 64, ("0" * 64,), None, 0), (), None, seconds, 100)


@pytest.fixture
def market(monkeypatch: pytest.MonkeyPatch) -> Market:
    price = Price(Decimal(0), Decimal("1e-9"), Decimal("1e-9"))
    conduct = Conduct(price, threads=2, task=250.0, deploy=30.0, load=1.0)
    market = Market(VirtualTime(), random.Random(1), {"0x1": conduct, "0x2": conduct})
    monkeypatch.setattr("requestor.backends.golem.yapapi.Golem", lambda **options: SimulatedGolem(market, **options))
    monkeypatch.setattr("requestor.backends.golem.Wallet", lambda connection: market)
    monkeypatch.setattr("requestor.backends.golem.survey_market", market.survey)
    for clock in ("crew.METER_SECONDS", "golem.CHECK_SECONDS", "board.GLANCE_SECONDS"):
        monkeypatch.setattr(f"requestor.backends.{clock}", 20.0)  # nine hours are long, even if nobody waits
    return market


def backend(market: Market, folder: Path, workers: int) -> GolemBackend:
    settings = GolemSettings(
        GolemConnection("http://127.0.0.1:1", "key", "hoodi"), "public", "hash:sha3:0:http://127.0.0.1/", True, (),
        "/usr/bin/python3", Decimal(1), {},
    )  # fmt: skip
    accounts = Accounts(Decimal(2), Ledger(folder / "ledger.jsonl"), lambda: market.clock.now)
    return GolemBackend(settings, accounts, workers, folder)


def test_agreements_follow_each_other_and_none_breaks_a_task_off(market: Market, tmp_path: Path) -> None:
    outcomes: list[Outcome] = []
    ledger = Ledger(tmp_path / "ledger.jsonl")

    async def run() -> None:
        async with backend(market, tmp_path, workers=2) as golem:
            while market.clock.now < HOURS * 3600:
                tasks = [task(f"task-{len(outcomes)}-{number}") for number in range(6)]
                outcomes.extend([outcome async for outcome in golem.run(tasks, 2 * 3600)])

    market.clock.run(run)

    signed = [entry for entry in ledger.entries() if entry["event"] == "agreement"]
    assert all(outcome.error is None for outcome in outcomes)
    assert market.broken == 0
    assert 2 * agreements_for(HOURS * 3600) <= len(signed) <= 2 * (2 * HOURS // 4 + 1)
    assert market.demands >= 2 * HOURS / 4
    assert market.reserved >= 1 + HOURS // 5  # each allocation is replaced before it expires
    assert market.allocations == set()
    assert market.unpaid == []
    assert ledger.spent() == sum(market.paid.values(), Decimal(0))


def test_a_task_that_no_agreement_has_time_for_is_refused(market: Market, tmp_path: Path) -> None:
    golem = backend(market, tmp_path, workers=1)
    with pytest.raises(ValueError, match="more than the"):
        golem.run([task("endless", LONGEST_TASK.total_seconds() + 1)], 10.0)


def test_the_number_of_agreements() -> None:
    assert [agreements_for(hours * 3600) for hours in (0, 1, 4, 4.1, 12)] == [1, 1, 1, 2, 3]
