"""The budget holds: a hundred runs in virtual time on a market of cheats, failures and honest work.

The backend is the real one, with its board, accounts and ledger; only yapapi and the daemon are replaced. The wallet
would pay any amount, so a run stays within its budget only by what the backend issues and accepts.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from simulated_golem import Conduct, Market, SimulatedGolem, VirtualTime

from nima.wire.jobs import PROTOCOL, Job
from requestor.backends.base import Task
from requestor.backends.golem import GolemBackend
from requestor.backends.hired import GolemSettings
from requestor.errors import ConfigurationError
from requestor.golem.networks import GolemConnection
from requestor.money.accounts import Accounts
from requestor.money.amounts import Price
from requestor.records.ledger import Ledger

RUNS = 100
ROUND_SECONDS = 300.0


class SimulatedRun:
    """A run of three rounds and an evaluation; it may be killed in between and started again."""

    def __init__(self, seed: int, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.dice = random.Random(seed)
        self.time = VirtualTime()
        self.market = Market(
            self.time, self.dice, {f"0x{n}": conduct(self.dice) for n in range(self.dice.randint(1, 8))}
        )
        self.budget = Decimal(str(self.dice.choice([0.02, 0.1, 0.5, 3])))
        self.workers = self.dice.randint(1, 4)
        self.killed_after = self.dice.uniform(0, 600) if self.dice.random() < 0.3 else None
        self.ledger = Ledger(folder / "ledger.jsonl")
        self.outcomes = 0
        self.inbox = folder / "inbox"
        self.inbox.mkdir()
        golem = lambda **options: SimulatedGolem(self.market, **options)  # noqa: E731
        patch.setattr("requestor.backends.golem.yapapi.Golem", golem)
        patch.setattr("requestor.backends.golem.Wallet", lambda connection: self.market)
        patch.setattr("requestor.backends.golem.survey_market", self.market.survey)

    def backend(self) -> GolemBackend:
        settings = GolemSettings(
            GolemConnection("http://127.0.0.1:1", "key", "hoodi"), "public", "hash:sha3:0:http://127.0.0.1/", True, (),
            "/usr/bin/python3", Decimal(1), {},
        )  # fmt: skip
        accounts = Accounts(self.budget, self.ledger, lambda: self.time.now)
        return GolemBackend(settings, accounts, self.workers, self.inbox)

    async def session(self) -> None:
        async with self.backend() as backend:
            for number, kind in enumerate(["train", "train", "train", "evaluate"]):
                tasks = [self.task(kind, f"{kind}-{number}-{index}") for index in range(self.dice.randint(1, 6))]
                outcomes = [outcome async for outcome in backend.run(tasks, ROUND_SECONDS)]
                assert sorted(o.task.job.job_id for o in outcomes) == sorted(task.job.job_id for task in tasks)
                self.outcomes += sum(outcome.error is None for outcome in outcomes)
                for outcome in outcomes:
                    if outcome.output is not None:
                        outcome.output.unlink()
                    assert (outcome.error or "").isprintable()
                await asyncio.sleep(self.dice.uniform(0, 30))  # the results are judged; providers wait

    def task(self, kind: Any, name: str) -> Task:
        # "embed" stands for all training, because it needs no plan.
        job = Job(
            PROTOCOL, "evaluate" if kind == "evaluate" else "embed", name, "n", "/", "0" * 64, ("0" * 64,), None, 0
        )
        return Task(job, (), None, self.dice.choice([90.0, 300.0]), 100)

    async def run(self) -> None:
        if self.killed_after is not None:
            # Nothing that a clean end does is done: the allocation stays, the activities go on.
            backend = self.backend()
            await backend.__aenter__()
            tasks = [self.task("train", f"killed-{index}") for index in range(4)]
            outcomes = asyncio.create_task(
                asyncio.wait_for(anext(backend.run(tasks, ROUND_SECONDS)), self.killed_after)
            )
            await asyncio.wait({outcomes})
            mine = asyncio.all_tasks() - {asyncio.current_task()}
            running = dict(self.market.working)
            for task in mine:
                task.cancel()
            await asyncio.wait(mine)
            self.market.working = running
            await asyncio.sleep(self.dice.uniform(0, 100))
        with suppress(ConfigurationError):  # nothing is left of the budget
            await self.session()
        await asyncio.sleep(1)


def conduct(dice: random.Random) -> Conduct:
    """Draws a provider; every second one is honest, but may fail."""

    def up_to(most: float) -> Decimal:
        return Decimal(str(round(dice.uniform(0, most), 6))) if dice.random() < 0.7 else Decimal(0)

    trouble: dict[str, Any] = {"fails": dice.choice([0, 0, 0.3]), "hangs": dice.choice([0, 0, 0.2])}
    if dice.random() < 0.5:
        factor = dice.choice(["0.5", "1.05", "3", "100"])
        reports = dice.choice([None, Decimal(0), Decimal(1), Decimal(100), Decimal("Infinity"), Decimal(-1)])
        trouble |= {"factor": Decimal(factor), "reports": reports, "vanishes": dice.choice([0, 0.5])}
    return Conduct(
        Price(start=up_to(0.05), wall_second=up_to(0.0001), cpu_second=up_to(0.0001)), threads=dice.choice([1, 2, 4]),
        task=dice.uniform(2, 120), deploy=dice.uniform(0, 60), load=dice.uniform(0, 1), **trouble,
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(RUNS))
def test_no_run_pays_more_than_its_budget_and_the_ledger_knows_every_coin(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = SimulatedRun(seed, tmp_path, monkeypatch)
    run.time.run(run.run)
    paid = sum(run.market.paid.values(), Decimal(0))
    assert paid <= run.budget
    assert run.ledger.spent() == paid
    assert run.market.allocations == set()
    assert run.market.working == {}
    if run.killed_after is None:
        assert run.market.unpaid == []  # the budget reserved enough to pay every honest provider
    assert list(run.inbox.rglob("*")) == []  # of failed attempts nothing stays
    assert all(str(value).isprintable() for entry in run.ledger.entries() for value in entry.values())
    promises = [Decimal(entry["committed"]) for entry in run.ledger.entries() if entry["event"] == "promise"]
    assert all(promise <= run.budget for promise in promises)


def test_the_simulated_runs_are_not_idle(tmp_path: Path) -> None:
    """Most runs get work done, and in most a provider tries to be paid too much: so the test above tests something."""
    done, refused = 0, 0
    for seed in range(30):
        folder = tmp_path / str(seed)
        folder.mkdir()
        with pytest.MonkeyPatch.context() as patch:
            run = SimulatedRun(seed, folder, patch)
            run.time.run(run.run)
        done += run.outcomes > 0
        refused += any(entry["event"] == "invoice_rejected" for entry in run.ledger.entries())
    assert done > 20
    assert refused > 10
