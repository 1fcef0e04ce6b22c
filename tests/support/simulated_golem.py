"""Simulates a market in virtual time: hours of hiring, working and billing take a moment.

It replaces yapapi and the daemon. Providers fail, hang, leave without a bill, report any cost, and bill any amount. The
replacement of yapapi does what yapapi does: it hires the best offer for every free seat, creates an activity without
asking, passes the worker's scripts to the provider, hires again for a seat whose worker failed, and accepts a bill if
the strategy does.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import selectors
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yapapi
from yapapi import events
from yapapi.rest.activity import BatchError, BatchTimeoutError, CommandExecutionError
from yapapi.rest.market import AgreementDetails
from yapapi.strategy import SCORE_REJECTED

from nima.wire.jobs import PROTOCOL, JobResult
from requestor.golem.market import Survey
from requestor.golem.property_names import EXPIRATION
from requestor.money.amounts import Price

START = 1_800_000_000.0  # Unix seconds at which virtual time begins


class VirtualTime(selectors.SelectSelector):
    """Makes an event loop that never waits: as its selector, moves virtual time to the next event at once."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        assert timeout is not None, "nothing will ever happen again"
        self.now += max(0.0, timeout)
        return super().select(0)

    def run(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Runs to the end with `time.monotonic`, and the clock of ledger and orphans, in virtual time."""
        virtual = self

        class Clock(datetime):
            @classmethod
            def now(cls, tz: tzinfo | None = None) -> Any:
                return datetime.fromtimestamp(START + virtual.now, tz)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(time, "monotonic", lambda: self.now)
            patch.setattr(time, "time", lambda: START + self.now)
            patch.setattr("requestor.records.ledger.datetime", Clock)
            patch.setattr("requestor.golem.bills.datetime", Clock)
            patch.setattr("requestor.records.journal.os.fsync", lambda handle: None)
            loop = asyncio.SelectorEventLoop(self)
            try:
                loop.run_until_complete(work())
                for task in asyncio.all_tasks(loop):
                    task.cancel()
                loop.run_until_complete(asyncio.sleep(0))
            finally:
                loop.close()


@dataclass(frozen=True)
class Conduct:
    """Describes the behaviour of a provider, in seconds and in probabilities for each task.

    factor: its bill divided by an honest one. reports: its reported cost divided by the true one; None: it never
    answers.
    """

    price: Price
    threads: int
    task: float
    deploy: float
    load: float
    fails: float = 0.0
    hangs: float = 0.0
    vanishes: float = 0.0
    factor: Decimal = Decimal(1)
    reports: Decimal | None = Decimal(1)

    @property
    def honest(self) -> bool:
        """Returns whether the provider bills no more than the true cost, and reports the true cost."""
        return self.factor <= 1 and self.reports == 1

    def offer(self) -> dict[str, Any]:
        """Returns the properties of the provider's offer."""
        coefficients = (self.price.cpu_second, self.price.wall_second, self.price.start)
        return {
            "golem.com.pricing.model": "linear",
            "golem.com.pricing.model.linear.coeffs": [float(p) for p in coefficients],
            "golem.com.usage.vector": ["golem.usage.cpu_sec", "golem.usage.duration_sec"],
            "golem.com.scheme": "payu",
            "golem.inf.cpu.threads": self.threads,
            "golem.inf.mem.gib": 4,
            "golem.com.payment.platform.erc20-hoodi-tglm.address": "0xprovider",
        }  # fmt: skip


@dataclass
class Working:
    """Describes one activity, from its creation on."""

    provider: str
    conduct: Conduct
    started: float

    def cost(self, now: float) -> Decimal:
        """Returns the true cost in GLM up to the virtual time `now`."""
        seconds = Decimal(str(now - self.started))
        price, conduct = self.conduct.price, self.conduct
        cpu = price.cpu_second * conduct.threads * Decimal(str(conduct.load))
        return (price.start + (price.wall_second + cpu) * seconds).quantize(Decimal("1e-18"))


@dataclass
class Market:
    """Simulates providers, the daemon, and the wallet, which can pay any amount, so that it never limits a run.

    Attributes:
        paid: GLM that left the wallet, by agreement.
        unpaid: bills that were in order, and were not accepted.
        bills: the invoices that were sent, by agreement.
        working: the activities that have not ended, by agreement.
        demands, reserved: numbers of demands and of allocations that were made.
        broken: number of attempts that the end of an agreement broke off.
    """

    clock: VirtualTime
    dice: random.Random
    conducts: dict[str, Conduct]
    paid: dict[str, Decimal] = field(default_factory=dict)
    unpaid: list[str] = field(default_factory=list)
    bills: dict[str, dict[str, Any]] = field(default_factory=dict)
    working: dict[str, Working] = field(default_factory=dict)
    api_url: str = "http://127.0.0.1:1"
    demands: int = 0
    broken: int = 0
    reserved: int = 0
    allocations: set[str] = field(default_factory=set)
    _numbers: Any = field(default_factory=itertools.count)

    def number(self) -> int:
        """Returns a number that it has not returned before."""
        return next(self._numbers)

    def end(self, agreement: str) -> dict[str, Any] | None:
        """Ends the agreement; returns the provider's bill, if it sends one."""
        work = self.working.pop(agreement, None)
        if work is None or self.dice.random() < work.conduct.vanishes:
            return None
        amount = work.conduct.factor * work.cost(self.clock.now)
        bill = {"invoiceId": agreement, "agreementId": agreement, "amount": str(amount), "status": "RECEIVED"}
        self.bills[agreement] = bill
        if work.conduct.honest:
            self.unpaid.append(agreement)
        return bill

    async def survey(self, connection: Any, offers: Any, seconds: float) -> Survey:
        """Takes the place of `survey_market`; sees nobody."""
        await asyncio.sleep(seconds)
        return Survey((), ())

    # ---- requestor.golem.wallet.Wallet

    async def __aenter__(self) -> Market:
        return self

    async def __aexit__(self, *error: object) -> None: ...

    async def allocate(self, amount: Decimal, lifetime: timedelta) -> tuple[str, str]:
        assert amount > 0
        name = f"allocation-{self.number()}"
        self.allocations.add(name)
        self.reserved += 1
        return name, "0xwallet"

    async def release(self, allocation: str) -> None:
        self.allocations.remove(allocation)

    async def terminate(self, agreement: str, reason: str) -> None:
        self.end(agreement)

    async def invoices(self) -> list[dict[str, Any]]:
        return list(self.bills.values())

    async def withdraw_demands(self, mark: str) -> None: ...

    async def accept(self, invoice: str, amount: Decimal, allocation: str) -> None:
        """Accepts a bill, which must be unpaid, in full."""
        assert allocation in self.allocations
        assert invoice not in self.paid, "paid twice"
        assert amount == Decimal(self.bills[invoice]["amount"])
        self.paid[invoice] = amount
        self.bills[invoice]["status"] = "ACCEPTED"
        if invoice in self.unpaid:
            self.unpaid.remove(invoice)

    async def reject(self, invoice: str, reason: str, message: str) -> None:
        assert invoice not in self.paid
        self.bills[invoice]["status"] = "REJECTED"


class Script:
    """Records the part of a worker's script that the market looks at."""

    def __init__(self, timeout: timedelta) -> None:
        self.timeout = timeout
        self.deploys = False
        self.job: dict[str, Any] | None = None
        self.fetched: list[Path] = []

    def deploy(self) -> None:
        self.deploys = True

    def start(self) -> None: ...

    def upload_file(self, source: str, target: str) -> None: ...

    def upload_bytes(self, content: bytes, target: str) -> None:
        self.job = json.loads(content)

    def run(self, *command: str) -> None: ...

    def download_file(self, source: str, target: str) -> None:
        self.fetched.append(Path(target))


class SimulatedGolem:
    """Does what the backend uses of `yapapi.Golem`."""

    def __init__(self, market: Market, **options: Any) -> None:
        self._market, self._strategy, self._consume = market, options["strategy"], options["event_consumer"]
        self._agreements: dict[str, Any] = {}
        self._engine = SimpleNamespace(
            _budget_allocations=[], create_activity=self._create, _get_agreement_by_id=self._agreements.__getitem__,
            _api_config=SimpleNamespace(market=None, payment=None, activity=None), add_job=lambda job: None,
        )  # fmt: skip

    async def start(self) -> None: ...

    async def stop(self, wait_for_payments: bool) -> None:
        """Ends the activities that still run, and waits for their bills."""
        for agreement in self._agreements.values():
            if agreement.id in self._market.working:
                await self._settle(agreement)

    def _publish(self) -> None:
        self._market.demands += 1
        subscription = SimpleNamespace(close=lambda: asyncio.get_running_loop().call_later(5, self._publish))
        self._emit(events.SubscriptionCreated(job=None, subscription=subscription))

    def _emit(self, event: events.Event) -> None:
        asyncio.get_running_loop().call_soon(self._consume, event)

    async def _create(self, agreement: str) -> Any:
        await asyncio.sleep(self._market.dice.uniform(0, 3))
        provider = self._agreements[agreement].provider
        conduct = self._market.conducts[provider]
        self._market.working[agreement] = Working(provider, conduct, self._market.clock.now)
        if self._market.dice.random() < 0.05:
            raise yapapi.rest.market.ApiException("the exe-unit did not start")
        return f"activity-{self._market.number()}"

    async def execute_tasks(self, worker: Any, seats: list[Any], **options: Any) -> AsyncIterator[None]:
        """Hires providers for all seats until the workers have left them; yields nothing."""
        assert options["implicit_init"] is False
        ends = START + self._market.clock.now + options["timeout"].total_seconds()
        self._demand = {EXPIRATION: int(1000 * ends)}
        job = SimpleNamespace(
            find_offers=None, expiration_time=None, _demand_builder=SimpleNamespace(properties=self._demand),
            agreements_pool=SimpleNamespace(_offer_buffer={}), _exc_info=None,
        )  # fmt: skip
        self._engine.add_job(job)
        self._publish()
        crew = [asyncio.create_task(self._seat(worker)) for _ in range(options["max_workers"])]
        try:
            await asyncio.wait(crew)
        finally:
            for one in crew:
                one.cancel()
            await asyncio.wait(crew)
        for _ in ():
            yield

    async def _seat(self, worker: Any) -> None:
        """Hires providers for a seat until one keeps it."""
        left = False
        while not left:
            await asyncio.sleep(2)
            if (provider := await self._best_offer()) is not None:
                left = await self._hire(worker, provider)

    async def _best_offer(self) -> str | None:
        busy = {work.provider for work in self._market.working.values()}
        scores = {}
        for provider in sorted(self._market.conducts.keys() - busy):
            offer = SimpleNamespace(issuer=provider, props=self._market.conducts[provider].offer())
            score = await self._strategy.score_offer(offer)
            if score != SCORE_REJECTED:
                scores[provider] = score
        return max(scores, key=scores.__getitem__, default=None)

    async def _hire(self, worker: Any, provider: str) -> bool:
        agreement = self._sign(provider)
        gone = False

        async def take_seats() -> AsyncIterator[Any]:
            nonlocal gone
            yield SimpleNamespace(accept_result=lambda: None)
            gone = True

        try:
            activity = await self._engine.create_activity(agreement.id)
            work = self._market.working[agreement.id]
            context = SimpleNamespace(
                id=activity, provider_id=provider, provider_name=provider, _agreement=agreement,
                new_script=lambda timeout: Script(timeout), get_cost=lambda: self._report(work),
            )  # fmt: skip
            scripts = worker(context, take_seats())
            try:
                script = await anext(scripts)
                while True:
                    if error := await self._perform(script, work.conduct, agreement):
                        script = await scripts.athrow(error)
                    else:
                        script = await scripts.asend(None)
            finally:
                await scripts.aclose()
        except Exception:
            pass
        except StopAsyncIteration:
            pass
        await asyncio.sleep(self._market.dice.uniform(0, 5))  # the activity is being destroyed
        await self._settle(agreement)
        return gone

    def _sign(self, provider: str) -> Any:
        conduct = self._market.conducts[provider]
        details = SimpleNamespace(
            provider_view=AgreementDetails.View(conduct.offer()),
            requestor_view=AgreementDetails.View(dict(self._demand)),
            provider_node_info=SimpleNamespace(name=provider),
            raw_details=SimpleNamespace(offer=SimpleNamespace(provider_id=provider)),
        )
        agreement = SimpleNamespace(id=f"agreement-{self._market.number()}", details=details, provider=provider)
        self._agreements[agreement.id] = agreement
        self._emit(events.AgreementConfirmed(job=None, agreement=agreement))
        return agreement

    async def _perform(self, script: Script, conduct: Conduct, agreement: Any) -> Exception | None:
        dice, limit = self._market.dice, script.timeout.total_seconds()
        left = agreement.details.requestor_view.properties[EXPIRATION] / 1000 - START - self._market.clock.now
        takes = (conduct.task * dice.lognormvariate(0, 0.3) if script.job else 0) + (
            conduct.deploy if script.deploys else 0
        )
        fate = dice.random()
        if fate < conduct.hangs or takes > limit:
            takes = limit
        if takes > left:
            await asyncio.sleep(left)
            self._market.broken += 1
            return BatchError("Activity terminated by provider")
        await asyncio.sleep(takes)
        if takes == limit:
            return BatchTimeoutError()
        if fate < conduct.hangs + conduct.fails:
            if script.job is not None:
                script.fetched[-1].write_bytes(b"a part of an output")
            hostile = "\x1b]0;owned\x07\u202e", "Traceback\n\x1b[2J2026-01-01 INFO all is well\n"
            return dice.choice(
                [CommandExecutionError("run", f"exited with code 1 {hostile[0]}", hostile[1]), RuntimeError(hostile[0])]
            )
        if (job := script.job) is None:
            return None
        result = JobResult(PROTOCOL, job["job_id"], job["kind"], True, None, seconds=takes)
        script.fetched[0].write_text(result.to_json())
        script.fetched[1].write_bytes(b"an output")
        return None

    async def _report(self, work: Working) -> float | None:
        if work.conduct.reports is None:
            raise TimeoutError
        return float(work.conduct.reports * work.cost(self._market.clock.now))

    async def _settle(self, agreement: Any) -> None:
        bill = self._market.end(agreement.id)
        if bill is None:
            return
        note = SimpleNamespace(agreement_id=agreement.id, total_amount_due=bill["amount"], payment_due_date="tomorrow")
        assert await self._strategy.debit_note_accepted_amount(note) == 0
        invoice = SimpleNamespace(agreement_id=agreement.id, invoice_id=bill["invoiceId"], amount=bill["amount"])
        if await self._strategy.invoice_accepted_amount(invoice) >= Decimal(bill["amount"]):
            await asyncio.sleep(self._market.dice.uniform(0, 2))
            await self._market.accept(agreement.id, Decimal(bill["amount"]), *self._market.allocations)
            self._emit(events.InvoiceAccepted(job=None, agreement=agreement, invoice=invoice))
