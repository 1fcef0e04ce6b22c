"""Sends the bills of one agreement: debit notes while an activity runs, one at its end, and the invoice.

Follows yagna's `agent/provider/src/payments`: notes are sent at fixed intervals of the agreement's time, amounts are
cumulative per activity, a final note is sent again until it arrives, and an unaccepted note breaks the agreement at its
deadline.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any, TypeVar

from requestor.devnet.faults import Fault
from requestor.devnet.provider.pricing import LinearPricing, plain_decimal
from requestor.devnet.provider.rest import ProviderRest
from requestor.errors import GolemError
from requestor.golem import growing_pauses, property_names, retry_until_success

INVOICE_DUE_SECONDS = 24 * 3600.0
_FIRST_PAUSE, _PAUSE_FACTOR, _ISSUE_PAUSE = 3.0, 1.5, 5.0

logger = logging.getLogger(__name__)

_Result = TypeVar("_Result")
OnBreak = Callable[[str, str], None]  # (code, message)
Counters = Callable[[], Sequence[float]]


@dataclass(frozen=True)
class PaymentTerms:
    """Holds the prices and the payment terms of an agreement; times in seconds. None: a term was not negotiated."""

    pricing: LinearPricing
    interval: float
    accept_timeout: float | None
    payment_timeout: float | None

    @classmethod
    def of_agreement(cls, agreement: Mapping[str, Any], default_interval: float) -> PaymentTerms:
        """Reads the terms of an agreement, as the daemon's market API returns it; `default_interval` is in seconds."""
        offer, demand = agreement["offer"]["properties"], agreement["demand"]["properties"]
        return cls(
            pricing=LinearPricing(tuple(float(value) for value in offer[property_names.PRICES])),
            interval=float(offer.get(property_names.DEBIT_NOTE_INTERVAL, default_interval)),
            accept_timeout=demand.get(property_names.ACCEPT_TIMEOUT),
            payment_timeout=demand.get(property_names.PAYMENT_TIMEOUT),
        )


class Billing:
    """Sends the bills of one agreement that was approved at `approved` (Unix seconds).

    Calls `on_break` with a termination code and a message if the agreement must be broken.
    """

    def __init__(
        self,
        rest: ProviderRest,
        agreement_id: str,
        approved: float,
        terms: PaymentTerms,
        fault: Fault,
        on_break: OnBreak,
    ) -> None:
        self._rest, self._agreement_id, self._approved, self._terms = rest, agreement_id, approved, terms
        self._fault, self._on_break = fault, on_break
        self._costs: dict[str, Decimal] = {}  # GLM by activity, for those that have ended
        self._activity_of: dict[str, str] = {}  # debit note → activity
        self._deadlines: dict[str, asyncio.TimerHandle] = {}  # debit note → acceptance timer
        self._due: dict[str, asyncio.TimerHandle] = {}  # payable debit note → payment timer
        self._last_sent = self._last_payable = approved

    async def charge(self, activity_id: str, counters: Counters) -> None:
        """Sends a debit note for a running activity at every interval, until it is cancelled.

        Breaks the agreement and returns if notes could not be sent for longer than the time to accept one.
        """
        while True:
            elapsed = time.time() - self._approved
            await asyncio.sleep(self._terms.interval - elapsed % self._terms.interval)
            try:
                await self._debit_note(activity_id, counters(), final=False)
            except GolemError as error:
                logger.warning("a debit note for activity %s was not sent: %s", activity_id, error)
                timeout = self._terms.accept_timeout
                if timeout is not None and time.time() - self._last_sent > timeout:
                    self._on_break("RequestorUnreachable", "Requestor is unreachable.")
                    return

    async def final_note(self, activity_id: str, usage: Sequence[float]) -> None:
        """Sends the last debit note of an activity, again and again until it arrives.

        The invoice will contain its amount.
        """
        self._costs[activity_id] = self._amount(usage)
        await _insist(lambda: self._debit_note(activity_id, usage, final=True))

    async def invoice(self) -> str:
        """Sends the invoice for all activities that have ended, again and again until it arrives.

        Returns the invoice's id.
        """
        amount = sum(self._costs.values(), Decimal(0))
        due = INVOICE_DUE_SECONDS if self._terms.payment_timeout is None else self._terms.payment_timeout
        invoice = {
            "agreementId": self._agreement_id,
            "activityIds": list(self._costs),
            "amount": plain_decimal(amount),
            "paymentDueDate": _date(time.time() + due),
        }
        invoice_id = await _insist(lambda: self._rest.issue_invoice(invoice), first=_ISSUE_PAUSE, factor=1.0)
        await _insist(lambda: self._rest.send_invoice(invoice_id))
        logger.info("invoice %s for %s GLM sent", invoice_id, plain_decimal(amount))
        return invoice_id

    def handle_event(self, event: Mapping[str, Any]) -> None:
        """Handles a debit-note event of the daemon; ignores those of other agreements."""
        note, kind = event["debitNoteId"], event["eventType"]
        if note not in self._activity_of:
            return
        if kind in ("DebitNoteAcceptedEvent", "DebitNoteSettledEvent"):
            self._settle(self._deadlines, note)
            if kind == "DebitNoteSettledEvent":
                self._settle(self._due, note)
        elif kind in ("DebitNoteRejectedEvent", "DebitNoteCancelledEvent"):
            verb = kind.removeprefix("DebitNote").removesuffix("Event")
            self._on_break(f"DebitNote{verb}", f"DebitNote [{note}] {verb.lower()}.")

    def stop(self) -> None:
        """Cancels the deadlines, because the agreement has ended."""
        for timer in (*self._deadlines.values(), *self._due.values()):
            timer.cancel()
        self._deadlines.clear()
        self._due.clear()

    async def _debit_note(self, activity_id: str, usage: Sequence[float], *, final: bool) -> None:
        now, timeout = time.time(), self._terms.payment_timeout
        payable = timeout is not None and (final or now - self._last_payable >= timeout)
        note: dict[str, Any] = {
            "activityId": activity_id,
            "totalAmountDue": plain_decimal(self._amount(usage)),
            "usageCounterVector": list(usage),
        }
        if payable and timeout is not None:
            note["paymentDueDate"] = _date(now + timeout)
        note_id = await self._rest.issue_debit_note(note)
        await self._rest.send_debit_note(note_id)
        logger.info("debit note %s for %s GLM sent", note_id, note["totalAmountDue"])
        self._activity_of[note_id] = activity_id
        self._last_sent = now
        loop = asyncio.get_running_loop()
        if payable and timeout is not None:
            self._last_payable = now
            message = f"DebitNote [{note_id}] was not paid until its due date."
            self._due[note_id] = loop.call_later(timeout, self._on_break, "DebitNoteNotPaid", message)
        if self._terms.accept_timeout is not None:
            self._deadlines[note_id] = loop.call_later(
                self._terms.accept_timeout,
                self._on_break,
                "DebitNotesDeadline",
                f"Requestor isn't accepting DebitNotes in time ({self._terms.accept_timeout:g}s).",
            )

    def _amount(self, usage: Sequence[float]) -> Decimal:
        return self._fault.bill(self._terms.pricing.cost(usage))

    def _settle(self, timers: dict[str, asyncio.TimerHandle], note: str) -> None:
        """Cancels the timers of a note and of the earlier notes of its activity, because amounts are cumulative."""
        for earlier in self._activity_of:
            if self._activity_of[earlier] == self._activity_of[note] and earlier in timers:
                timers.pop(earlier).cancel()
            if earlier == note:
                return


async def _insist(
    attempt: Callable[[], Awaitable[_Result]], first: float = _FIRST_PAUSE, factor: float = _PAUSE_FACTOR
) -> _Result:
    """Awaits `attempt()` again and again, until the daemon takes it."""

    def warn(error: GolemError, pause: float) -> None:
        logger.warning("%s; again in %.0f s", error, pause)

    return await retry_until_success(attempt, GolemError, growing_pauses(first, factor), warn)


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat().replace("+00:00", "Z")
