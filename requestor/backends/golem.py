"""Runs tasks on Golem: hires providers through yapapi, in one job of yapapi for all rounds, within a budget."""

from __future__ import annotations

import asyncio
import logging
import os
import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any

from requestor.backends.base import BackendStatus, Outcome, Provider, Task
from requestor.backends.board import Board
from requestor.backends.crew import CommandFailure, Crew, GolemSettings, Hired
from requestor.backends.inbox import Inbox
from requestor.backends.yapapi_private import CreateActivity, agreement_of, create_activities_with, pay_from
from requestor.errors import GolemError
from requestor.golem import LONGEST_RUN, Offer, Reservation, Wallet, property_names, read_offer, reject_invoice
from requestor.image import TASK_MEMORY_GIB
from requestor.money import Accounts
from requestor.records import Receipt

warnings.filterwarnings("ignore", message="pkg_resources is deprecated")  # yapapi imports it
import yapapi  # noqa: E402
from yapapi import WorkContext, events  # noqa: E402
from yapapi.config import ApiConfig  # noqa: E402
from yapapi.payload import Payload  # noqa: E402
from yapapi.props.builder import DemandBuilder  # noqa: E402
from yapapi.rest.activity import Activity, CommandExecutionError  # noqa: E402
from yapapi.rest.market import Agreement, OfferProposal  # noqa: E402
from yapapi.rest.payment import DebitNote, Invoice  # noqa: E402
from yapapi.script import Script  # noqa: E402
from yapapi.strategy import SCORE_REJECTED, SCORE_TRUSTED, MarketStrategy  # noqa: E402

JOB_ATTEMPTS = 5  # number of attempts to publish the demand
CLOSING_SECONDS = 60.0  # time that providers have to end their activities and send their bills

logger = logging.getLogger(__name__)


class GolemBackend:
    """Runs tasks on hired providers through yapapi.

    yapapi gives a task to any worker, does not keep the reason why it failed, and retries it for ever. So each task of
    yapapi is only a seat in our crew: one provider takes the seat, and then takes task after task from our board until
    the end. If this provider fails, another one gets the seat.

    Args:
        settings: the settings of the demand and of the payment.
        accounts: the run's accounts, which are asked before every task, and are told every cost.
        workers: number of providers to hire.
        inbox: existing folder for the files of results.
    """

    name = "golem"

    def __init__(self, settings: GolemSettings, accounts: Accounts, workers: int, inbox: Path) -> None:
        self._settings = settings
        self._accounts = accounts
        self._ledger = accounts.ledger
        self._count = workers
        self._board = Board(crew=workers, proven=settings.image_checked)
        self._crew = Crew(settings, accounts, self._board, Inbox(inbox), _failure_of)
        self._noted: set[str] = set()  # agreements that are in the ledger
        self._demand_failed = asyncio.Event()
        self._wallet = Wallet(settings.connection)
        self._reservation = Reservation(self._wallet, accounts)

    async def __aenter__(self) -> GolemBackend:
        connection = self._settings.connection
        os.environ.update(self._settings.environment)  # yapapi starts `gftp` with this process's environment
        async with AsyncExitStack() as closing:
            await closing.enter_async_context(self._wallet)
            amount, address = await self._reservation.make()
            closing.push_async_callback(self._reservation.release)
            await self._reservation.settle_orphans()
            self._golem = yapapi.Golem(
                budget=amount,
                strategy=_Strategy(self._settings.max_price, self._board, self._accounts, self._wallet),
                subnet_tag=self._settings.subnet,
                payment_driver=connection.driver,
                payment_network=connection.network,
                event_consumer=self._on_event,
                api_config=ApiConfig(app_key=connection.app_key, api_url=connection.api_url),
            )
            pay_from(
                self._golem,
                allocation_id=self._reservation.allocation,
                amount=amount,
                platform=connection.platform,
                address=address,
            )
            create_activities_with(self._golem, self._hire)
            await self._golem.start()
            self._closing = closing.pop_all()
        self._job = asyncio.create_task(self._run_job())
        self._meter = asyncio.create_task(self._crew.meter_all())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        async with self._closing:
            try:
                self._board.close()
                if error is not None:
                    self._job.cancel()
                await self._end_job()
                # Without a bound, yapapi would wait for ever for a job that it failed to end.
                await asyncio.wait_for(self._golem.stop(wait_for_payments=True), CLOSING_SECONDS)
            except asyncio.TimeoutError:
                logger.warning("yapapi did not stop within %s s", CLOSING_SECONDS)
            finally:
                self._meter.cancel()
                with suppress(GolemError):  # the next session of this run looks again
                    await self._reservation.collect_bills()

    async def settle(self) -> None:
        if self._ledger.open_agreements() or self._ledger.open_allocations():
            async with self._wallet:
                await self._reservation.make()
                try:
                    await self._reservation.settle_orphans()
                finally:
                    await self._reservation.release()

    def run(self, tasks: Sequence[Task], seconds: float) -> AsyncIterator[Outcome]:
        return self._board.run(tasks, seconds)

    def dismiss(self, provider_id: str) -> None:
        self._board.dismiss(provider_id)

    def reject(self, job_id: str, reason: str) -> None:
        if agreement := self._crew.agreement_of(job_id):
            self._ledger.record("rejected", agreement=agreement, job=job_id, reason=reason)

    def status(self) -> BackendStatus:
        return BackendStatus(self._crew.names, self._accounts.spent, self._board.at_work)

    def receipts(self) -> list[Receipt]:
        return self._ledger.receipts()

    async def _run_job(self) -> None:
        """Runs the job of yapapi; starts it again if yapapi could not publish the demand.

        yapapi gives a job up after one failed request to the market. The job also ends at its time limit, and yapapi
        reports nothing then.
        """
        reason = f"the Golem job has ended (its time limit is {LONGEST_RUN})"
        try:
            for _ in range(JOB_ATTEMPTS):
                self._demand_failed.clear()
                job = asyncio.create_task(self._execute_job())
                failed = asyncio.create_task(self._demand_failed.wait())
                try:
                    await asyncio.wait({job, failed}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    failed.cancel()
                    job.cancel()
                    await asyncio.wait({job}, timeout=CLOSING_SECONDS)
                if not self._demand_failed.is_set():
                    if job.done() and not job.cancelled() and (error := job.exception()):
                        reason = f"the Golem job broke off: {type(error).__name__}: {error}"
                    break
                reason = "the demand could not be published on the market"
                await asyncio.sleep(2)
        finally:
            logger.info("%s", reason)
            self._board.abandon(reason)

    async def _execute_job(self) -> None:
        async for _ in self._golem.execute_tasks(
            self._worker,
            [yapapi.Task(data=None) for _ in range(self._count)],
            payload=_ProviderImage(self._settings.image),
            max_workers=self._count,
            timeout=LONGEST_RUN,
            implicit_init=False,  # yapapi's own first script has no time limit, and the accounts are not asked
        ):
            pass

    async def _hire(self, agreement: Agreement, create: CreateActivity) -> Activity:
        """Creates an activity with `create`, if the budget covers it, because an activity costs as soon as it exists.

        Raises `_TooDear` if the budget does not cover it.
        """
        self._note_agreement(agreement)  # yapapi's own event may come later
        offer = _offer(agreement)
        if not self._accounts.hire(agreement.id, offer.price, offer.threads):
            raise _TooDear("the budget has no room for one more provider")
        try:
            return await create()
        except BaseException:
            self._accounts.close(agreement.id)
            raise

    def _note_agreement(self, agreement: Agreement) -> None:
        """Writes an agreement into the ledger, unless this was done before."""
        if agreement.id in self._noted:
            return
        self._noted.add(agreement.id)
        offer = _offer(agreement)
        self._ledger.record(
            "agreement", agreement=agreement.id, provider=offer.provider_id, name=offer.name,
            price=offer.price.to_text(), threads=offer.threads,
        )  # fmt: skip

    async def _end_job(self) -> None:
        """Waits until every provider has left its seat, and ends the job of yapapi.

        If no provider is hired, nobody would leave a seat: then the job is cancelled at once.
        """
        if self.status().providers:
            await asyncio.wait([self._job], timeout=CLOSING_SECONDS)
        self._job.cancel()
        await asyncio.wait([self._job], timeout=2 * CLOSING_SECONDS)

    def _worker(
        self, context: WorkContext, seats: AsyncIterator[yapapi.Task[None, None]]
    ) -> AsyncGenerator[Script, Any]:
        agreement = agreement_of(context)
        offer = _offer(agreement)
        hired = Hired(Provider(offer.provider_id, offer.name), context, agreement.id, offer.threads)
        return self._crew.work(hired, seats)

    def _on_event(self, event: events.Event) -> None:
        """Writes agreements and accepted bills into the ledger, and logs failures; yapapi calls it for every event."""
        if isinstance(event, events.AgreementConfirmed):
            self._note_agreement(event.agreement)
        elif isinstance(event, events.DebitNoteAccepted):
            note = event.debit_note
            self._accounts.debit_note(event.agreement.id, note.activity_id, Decimal(note.total_amount_due))
        elif isinstance(event, events.InvoiceAccepted):
            self._accounts.invoice(event.agreement.id, Decimal(event.invoice.amount))
        elif isinstance(event, events.SubscriptionFailed):
            logger.warning("the demand could not be published: %s", event.reason)
            self._demand_failed.set()
        elif isinstance(event, events.JobFinished | events.WorkerFinished | events.ActivityCreateFailed):
            if event.exc_info:
                logger.warning("%s", type(event).__name__, exc_info=event.exc_info)
        elif isinstance(event, events.PaymentFailed):
            logger.warning("a payment for agreement %s failed", event.agreement.id, exc_info=event.exc_info)


class _TooDear(Exception):
    """Keeps yapapi from hiring a provider that the budget cannot pay."""


class _Strategy(MarketStrategy):
    """Decides which providers are hired, and which bills are accepted.

    The cheapest providers are hired first. None is hired that is banned, costs more than `--max-price`, or costs more
    than the rest of the budget. No bill is accepted that is higher than time and price allow, or that is for worthless
    results only. yapapi leaves a bill open unless it is accepted in full.
    """

    def __init__(self, max_price: Decimal, board: Board, accounts: Accounts, wallet: Wallet) -> None:
        self._max_price = max_price
        self._board = board
        self._accounts = accounts
        self._wallet = wallet

    async def decorate_demand(self, demand: DemandBuilder) -> None:
        demand.ensure(f"({property_names.PRICING_MODEL}=linear)")

    async def score_offer(self, offer: OfferProposal) -> float:
        read = read_offer(offer.issuer, offer.props)
        if read is None or self._board.is_banned(offer.issuer) or read.first_hour > self._max_price:
            return float(SCORE_REJECTED)
        if not self._accounts.room_for(read.price, read.threads):
            return float(SCORE_REJECTED)
        return float(SCORE_TRUSTED) / float(1 + read.first_hour)

    async def invoice_accepted_amount(self, invoice: Invoice) -> Decimal:
        agreement, amount = str(invoice.agreement_id), Decimal(invoice.amount)
        if self._accounts.approve(agreement, amount):
            return amount
        await reject_invoice(self._wallet, self._accounts, agreement, str(invoice.invoice_id), amount)
        return Decimal(0)

    async def debit_note_accepted_amount(self, debit_note: DebitNote) -> Decimal:
        # A debit note with a due date is paid apart from the invoice. None is accepted, as runs are too short for it.
        amount = Decimal(debit_note.total_amount_due)
        in_order = debit_note.payment_due_date is None and self._accounts.allows(debit_note.agreement_id, amount)
        return amount if in_order else Decimal(0)


@dataclass
class _ProviderImage(Payload):
    """Demands the provider image. yapapi's own `vm.repo` would ask a server for the image at every start."""

    image: str

    async def decorate_demand(self, demand: DemandBuilder) -> None:
        demand.properties[property_names.TASK_PACKAGE] = self.image
        demand.properties[property_names.PACKAGE_FORMAT] = "gvmkit-squash"
        demand.ensure(f"({property_names.RUNTIME}=vm)")
        demand.ensure(f"({property_names.MEMORY}>={TASK_MEMORY_GIB})")


def _offer(agreement: Agreement) -> Offer:
    """Returns the offer that the provider signed. Raises ValueError if it cannot be read; the provider is not hired."""
    provider = str(agreement.details.raw_details.offer.provider_id)
    offer = read_offer(provider, agreement.details.provider_view.properties)
    if offer is None:
        raise ValueError(f"the offer of the agreement {agreement.id} cannot be read: the provider is not hired")
    return offer


def _failure_of(error: Exception) -> CommandFailure | None:
    if isinstance(error, CommandExecutionError):
        return CommandFailure(error.message or "", error.stderr or "")
    return None
