"""Runs tasks on Golem: hires providers through yapapi, in one job of yapapi for all rounds, within a budget."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import time
import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AsyncExitStack
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any

from requestor.backends.base import BackendStatus, Outcome, Provider, Task
from requestor.backends.board import Board
from requestor.backends.crew import Crew
from requestor.backends.hired import CommandFailure, GolemSettings, Hired, OurFault
from requestor.backends.inbox import Inbox
from requestor.errors import GolemError, RequestorError
from requestor.golem import (
    LONGEST_AGREEMENT,
    LONGEST_TASK,
    Offer,
    OfferFilter,
    Reservation,
    Wallet,
    read_offer,
    survey_market,
)
from requestor.image import TASK_MEMORY_GIB
from requestor.money import Accounts, show_glm
from requestor.records import Receipt

warnings.filterwarnings("ignore", message="pkg_resources is deprecated")  # yapapi imports it
import yapapi  # noqa: E402
from yapapi import WorkContext, events  # noqa: E402
from yapapi.config import ApiConfig  # noqa: E402
from yapapi.rest.activity import Activity, CommandExecutionError  # noqa: E402
from yapapi.rest.market import Agreement  # noqa: E402
from yapapi.script import Script  # noqa: E402

from requestor.backends.market import (  # noqa: E402
    CreateActivity,
    MarketDemand,
    ProviderChoice,
    ProviderImage,
    agreement_end,
    agreement_of,
    create_activities_with,
    in_words,
    is_our_fault,
    pay_from,
    send_patiently,
    start_gftp_apart,
    trouble_of,
)

CLOSING_SECONDS = 60.0  # time that providers have to end their activities and send their bills
BILL_SECONDS = 10.0  # time to wait for bills that yapapi has not seen
CHECK_SECONDS = 2.0  # time between two checks of the demand and of the reservation
ABSENCE_SECONDS = 20.0  # time without any provider after which the market is asked why
SURVEY_SECONDS = 5.0  # time for which the market is asked then
# A demand is published again at this age if a seat is free, because all offers come again then.
VACANCY_SECONDS = 60.0
LOSS_SECONDS = 10.0  # the same if a provider was lost on the way to its first task, because a request failed
RENEWAL_SECONDS = LONGEST_AGREEMENT.total_seconds() / 2  # age of a demand after which it is published again
ALLOCATION_SECONDS = 1800.0  # time before the end of the allocation at which a new one is made

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
        self._inbox = Inbox(inbox)
        self._crew = Crew(settings, accounts, self._board, self._inbox, _failure_of)
        self._noted: set[str] = set()  # agreements that are in the ledger
        self._offers = OfferFilter(
            settings.subnet, settings.connection.platform, TASK_MEMORY_GIB, settings.max_price, self._board.is_banned
        )
        self._mark = hashlib.sha256(str(self._ledger.path.resolve()).encode()).hexdigest()[:32]
        self._wallet = Wallet(settings.connection)
        self._reservation = Reservation(self._wallet, accounts)
        self._ending: set[asyncio.Task[None]] = set()  # agreements that are being ended
        self._lost_provider = False
        self._alone_since = 0.0
        self._absence = ""

    async def __aenter__(self) -> GolemBackend:
        self._inbox.empty()
        connection = self._settings.connection
        os.environ.update(self._settings.environment)  # yapapi starts `gftp` with this process's environment
        async with AsyncExitStack() as closing:
            await closing.enter_async_context(self._wallet)
            amount, address = await self._reservation.make()
            closing.push_async_callback(self._reservation.release)
            await self._reservation.settle_orphans()
            closing.push_async_callback(self._reservation.withdraw_demands, self._mark)
            self._golem = yapapi.Golem(
                budget=amount,
                strategy=ProviderChoice(self._offers, self._accounts, self._wallet),
                subnet_tag=self._settings.subnet,
                payment_driver=connection.driver,
                payment_network=connection.network,
                event_consumer=self._on_event,
                api_config=ApiConfig(app_key=connection.app_key, api_url=connection.api_url),
            )
            self._pay = pay_from(
                self._golem,
                allocation_id=self._reservation.allocation,
                amount=amount,
                platform=connection.platform,
                address=address,
            )
            create_activities_with(self._golem, self._hire)
            send_patiently(self._golem, trouble_of)
            start_gftp_apart()
            self._demand = MarketDemand(self._golem, LONGEST_AGREEMENT)
            try:
                await self._golem.start()
            except Exception as error:
                raise GolemError(f"yapapi could not start: {in_words(error)}. See log.txt of the run.") from error
            self._closing = closing.pop_all()
        self._job = asyncio.create_task(self._run_job())
        self._meter = asyncio.create_task(self._crew.meter_all())
        self._alone_since = time.monotonic()
        self._keeper = asyncio.create_task(self._keep_hiring())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        async with self._closing:
            self._keeper.cancel()
            try:
                self._board.close()
                if error is not None:
                    self._job.cancel()
                await self._end_job()
                # Without a bound, yapapi would wait for ever for a job that it failed to end.
                await asyncio.wait_for(self._golem.stop(wait_for_payments=True), CLOSING_SECONDS)
            except asyncio.TimeoutError:
                logger.warning("yapapi did not stop within %s s", CLOSING_SECONDS)
            except Exception as failure:  # the run's own error, if there is one, is what the user must read
                logger.warning("yapapi did not stop cleanly: %s", in_words(failure), exc_info=failure)
            finally:
                self._meter.cancel()
                await self._collect_last_bills()

    async def _collect_last_bills(self) -> None:
        """Ends what yapapi could not end, and takes the bills that it has not seen; the next session looks again."""
        until = time.time() + LONGEST_AGREEMENT.total_seconds()
        for entry in self._ledger.open_agreements():
            await self._reservation.end_agreement(entry["agreement"], "The run has ended.", until)
        if self._ending:
            await asyncio.wait(self._ending, timeout=CLOSING_SECONDS)
        try:
            await self._reservation.collect_bills(BILL_SECONDS)
        except GolemError as failure:
            logger.warning("the bills could not be read: %s", failure)
        await self._reservation.note_payments()

    async def settle(self) -> None:
        if self._ledger.open_agreements() or self._ledger.open_allocations():
            async with self._wallet:
                await self._reservation.make()
                try:
                    await self._reservation.settle_orphans()
                    await self._reservation.note_payments()
                finally:
                    await self._reservation.release()

    def run(self, tasks: Sequence[Task], seconds: float) -> AsyncIterator[Outcome]:
        longest = LONGEST_TASK.total_seconds()
        for task in tasks:
            if task.seconds > longest:
                raise ValueError(f"{task.job.job_id} may take {task.seconds} s, more than the {longest} s of a task")
        return self._board.run(tasks, seconds)

    def dismiss(self, provider_id: str) -> None:
        self._board.dismiss(provider_id)

    def reject(self, job_id: str, reason: str) -> None:
        if agreement := self._crew.agreement_of(job_id):
            self._ledger.record("rejected", agreement=agreement, job=job_id, reason=reason)

    def status(self) -> BackendStatus:
        return BackendStatus(self._crew.names, self._accounts.spent, self._board.at_work, self._absence)

    def receipts(self) -> list[Receipt]:
        return self._ledger.receipts()

    async def _run_job(self) -> None:
        """Runs the job of yapapi until all providers have left their seats, or until it fails for good.

        yapapi reports a failure to its event consumer only.
        """
        reason = f"the budget of {show_glm(self._accounts.budget)} allows no further task"
        try:
            await self._execute_job()
            if failure := self._demand.failure:
                reason = failure
        except Exception as error:
            reason = in_words(error)
        finally:
            logger.info("the job of yapapi has ended")
            self._board.abandon(reason)

    async def _execute_job(self) -> None:
        async for _ in self._golem.execute_tasks(
            self._worker,
            [yapapi.Task(data=None) for _ in range(self._count)],
            payload=ProviderImage(self._settings.image, self._offers.constraints(), self._mark),
            max_workers=self._count,
            timeout=LONGEST_AGREEMENT,
            implicit_init=False,  # yapapi's own first script has no time limit, and the accounts are not asked
        ):
            pass

    async def _keep_hiring(self) -> None:
        """Publishes the demand again, and makes a new allocation, in time; runs until it is cancelled."""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            await self._survey()
            if self._demand.age > self._renewal_age():
                self._lost_provider = False
                self._demand.renew()
            if self._reservation.seconds_left < ALLOCATION_SECONDS:
                try:
                    await self._reservation.renew()
                except RequestorError as error:  # tried again; without an allocation, no bill is accepted meanwhile
                    logger.warning("the allocation could not be renewed: %s", error)
                else:
                    self._pay(self._reservation.allocation)

    def _renewal_age(self) -> float:
        if self._crew.size >= self._count:
            return RENEWAL_SECONDS
        return LOSS_SECONDS if self._lost_provider else VACANCY_SECONDS

    async def _survey(self) -> None:
        """Asks the market once why nobody comes, if no provider has been hired for a while."""
        if self._crew.size:
            self._alone_since, self._absence = time.monotonic(), ""
        elif not self._absence and time.monotonic() - self._alone_since > ABSENCE_SECONDS:
            try:
                survey = await survey_market(self._settings.connection, self._offers, SURVEY_SECONDS)
                self._absence = survey.describe()
            except GolemError as error:
                self._absence = f"the market could not be asked: {error}"

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
        provider = Provider(offer.provider_id, offer.name)
        hired = Hired(provider, context, agreement.id, offer.threads, agreement_end(agreement))
        return self._crew.work(hired, seats)

    def _on_event(self, event: events.Event) -> None:
        """Writes agreements and accepted bills into the ledger, and logs failures; yapapi calls it for every event."""
        self._demand.on_event(event)
        if isinstance(event, events.ProposalFailed | events.AgreementTerminated | events.ActivityCreateFailed):
            self._lost_provider = True
        if isinstance(event, events.AgreementConfirmed):
            self._note_agreement(event.agreement)
        elif isinstance(event, events.AgreementRejected):
            # If only the answer was lost, the provider may have signed it.
            self._end_agreement(event.agreement)
        elif isinstance(event, events.DebitNoteAccepted):
            note = event.debit_note
            self._accounts.debit_note(event.agreement.id, note.activity_id, Decimal(note.total_amount_due))
        elif isinstance(event, events.InvoiceAccepted):
            self._accounts.invoice(event.agreement.id, Decimal(event.invoice.amount))
        elif isinstance(event, events.JobFinished | events.WorkerFinished | events.ActivityCreateFailed):
            if event.exc_info:
                reason = in_words(event.exc_info[1]) if event.exc_info[1] else "for no reason"
                logger.warning("%s: %s", type(event).__name__, reason, exc_info=event.exc_info)
        elif isinstance(event, events.PaymentFailed):
            self._accounts.revoke(event.agreement.id)
            logger.warning("a payment for agreement %s failed", event.agreement.id, exc_info=event.exc_info)

    def _end_agreement(self, agreement: Agreement) -> None:
        until = time.time() + LONGEST_AGREEMENT.total_seconds()
        ending = self._reservation.end_agreement(agreement.id, "It was not confirmed in time.", until)
        task = asyncio.create_task(ending)
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)


class _TooDear(Exception):
    """Keeps yapapi from hiring a provider that the budget cannot pay."""


def _offer(agreement: Agreement) -> Offer:
    """Returns the offer that the provider signed. Raises ValueError if it cannot be read; the provider is not hired."""
    provider = str(agreement.details.raw_details.offer.provider_id)
    offer = read_offer(provider, agreement.details.provider_view.properties)
    if offer is None:
        raise ValueError(f"the offer of the agreement {agreement.id} cannot be read: the provider is not hired")
    return offer


def _failure_of(error: Exception) -> CommandFailure | OurFault | str:
    if isinstance(error, CommandExecutionError):
        return CommandFailure.of(error.message or "", error.stderr or "")
    return OurFault(in_words(error)) if is_our_fault(error) else in_words(error)
