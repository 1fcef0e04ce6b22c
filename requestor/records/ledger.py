"""Records a run's events that concern money: each is appended to a file, and is on disk before it takes effect."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from requestor.records.journal import append, lines

_CLOSING = ("invoice", "invoice_rejected", "invoice_cancelled", "agreement_ended")


_AGREEMENT = ("agreement", str)
_FIELDS: dict[str, tuple[tuple[str, type], ...]] = {  # of the events that are read again
    "allocation": (("id", str), ("amount", Decimal)),
    "allocation_released": (("id", str),),
    "agreement": (_AGREEMENT, ("provider", str), ("name", str), ("price", str), ("threads", int)),
    "agreement_ended": (_AGREEMENT,),
    "activity": (_AGREEMENT,),
    "activity_created": (_AGREEMENT, ("activity", str)),
    "task": (_AGREEMENT, ("job", str), ("ok", bool)),
    "rejected": (_AGREEMENT, ("job", str), ("reason", str)),
    "debit_note": (_AGREEMENT, ("activity", str), ("amount", Decimal)),
    "invoice": (_AGREEMENT, ("amount", Decimal)),
    "invoice_rejected": (_AGREEMENT, ("amount", Decimal)),
    "invoice_cancelled": (_AGREEMENT, ("amount", Decimal)),
    "paid": (_AGREEMENT, ("amount", Decimal)),
    "too_small": (_AGREEMENT, ("amount", Decimal)),
}


@dataclass(frozen=True)
class Receipt:
    """The work and the payment of one provider.

    name: the provider's name.
    provider_id: the provider's id.
    agreements: number of its agreements.
    tasks: number of tasks that it finished with a result.
    paid_glm: GLM that are accepted for payment: debit notes and invoices.
    settled_glm: GLM of its invoices that the daemon has paid, as far as it was asked since.
    too_small_glm: GLM of its accepted invoices that the daemon does not send, because they are too small.
    open_bills: number of its agreements for which no bill was accepted, rejected or cancelled yet, although one must
        come.
    """

    name: str
    provider_id: str
    agreements: int
    tasks: int
    paid_glm: Decimal
    open_bills: int = 0
    settled_glm: Decimal = Decimal(0)
    too_small_glm: Decimal = Decimal(0)

    def to_json(self) -> dict[str, Any]:
        """Returns the fields by name; amounts are exact texts."""
        return {name: str(value) if isinstance(value, Decimal) else value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Receipt:
        """Returns the receipt that `to_json` wrote. Raises TypeError or ArithmeticError if it cannot be one."""
        fields: dict[str, Any] = {
            name: Decimal(field) if name.endswith("_glm") else field for name, field in value.items()
        }
        return cls(**fields)


def describe_open_bills(receipts: Iterable[Receipt]) -> str | None:
    """Returns a sentence about the bills of a run that are still open; None if there are none."""
    owners = [receipt.name for receipt in receipts if receipt.open_bills]
    if not owners:
        return None
    return (
        f"Bills of {', '.join(owners)} are still open: no bill has come, or it could not be accepted. The same "
        "command, or `nima-golem runs resume`, pays what has come by then."
    )


def describe_payments(receipts: Iterable[Receipt]) -> str | None:
    """Returns a sentence about the accepted bills of a run: which are paid by now; None if nothing was accepted."""
    known = list(receipts)
    accepted, settled, too_small = (
        sum((getattr(receipt, name) for receipt in known), Decimal(0))
        for name in ("paid_glm", "settled_glm", "too_small_glm")
    )
    if not accepted:
        return None
    parts = [f"{settled:.6f} GLM of it are paid by now"]
    if too_small:
        parts.append(f"{too_small:.6f} GLM are too small to be sent (the daemon's MIN_PAYMENT_AMOUNT_GLM)")
    if (rest := accepted - settled - too_small) > 0:
        parts.append(f"{rest:.6f} GLM wait for the daemon's next payment")
    return f"Accepted {accepted:.6f} GLM: {', '.join(parts)}."


class Ledger:
    """Records the agreements, tasks, debit notes, invoices and allocations of one run, one JSON object in each line.

    Every method that reads raises RunFolderError if a line is damaged. Events and their fields:
        allocation {id, amount} · allocation_released {id}
        agreement {agreement, provider, name, price, threads} · agreement_ended {agreement}   (without a bill)
        activity {agreement}   (before it is created: from now on it may cost) · activity_created {agreement, activity}
        promise {agreement, job, seconds, committed}   (before the task; committed: the most that all may bill by then)
        task {agreement, job, ok} · rejected {agreement, job, reason}   (the task's result was refused)
        debit_note {agreement, activity, amount} · invoice {agreement, amount}   (both: accepted by the requestor)
        invoice_rejected {agreement, amount, reason} · invoice_cancelled {agreement, amount}   (by the provider)
        paid {agreement, amount} · too_small {agreement, amount}   (an accepted invoice, later)
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def record(self, event: str, **fields: str | int | bool | Decimal) -> None:
        """Appends one event. Amounts are written as exact texts."""
        entry: dict[str, Any] = {"time": datetime.now(timezone.utc).isoformat(), "event": event}
        entry.update({name: str(value) if isinstance(value, Decimal) else value for name, value in fields.items()})
        append(self.path, entry)

    def entries(self) -> Iterator[dict[str, Any]]:
        """Yields all events, oldest first.

        Leaves out a last line that a kill cut off. Raises RunFolderError if any other line is damaged, or lacks a field
        of its event.
        """
        return lines(self.path, _event)

    def open_allocations(self) -> list[str]:
        """Returns the ids of allocations that were made and not released, for example because the run was killed."""
        open_ids: list[str] = []
        for entry in self.entries():
            if entry["event"] == "allocation":
                open_ids.append(entry["id"])
            elif entry["event"] == "allocation_released" and entry["id"] in open_ids:
                open_ids.remove(entry["id"])
        return open_ids

    def open_agreements(self) -> list[dict[str, Any]]:
        """Returns the `agreement` events of agreements without an end or a bill; after a kill, they may still run."""
        entries = list(self.entries())
        closed = {entry["agreement"] for entry in entries if entry["event"] in _CLOSING}
        return [entry for entry in entries if entry["event"] == "agreement" and entry["agreement"] not in closed]

    def has_activity(self, agreement: str) -> bool:
        """Returns True if an activity may have run under an agreement, so that a bill may come."""
        return self._has("activity", agreement)

    def has_begun(self, agreement: str) -> bool:
        """Returns True if an activity is known to have run under an agreement, so that a bill must come."""
        return self._has("activity_created", agreement)

    def _begun(self) -> set[str]:
        return {entry["agreement"] for entry in self.entries() if entry["event"] == "activity_created"}

    def _has(self, event: str, agreement: str) -> bool:
        return any(entry["event"] == event and entry["agreement"] == agreement for entry in self.entries())

    def worthless(self, agreement: str) -> str | None:
        """Returns the reason why nothing is owed under an agreement; None if something is owed.

        Nothing is owed if results were rejected and no other result came. A failed task alone is no reason: nobody
        knows whose fault it was, and its time was used.
        """
        useful: set[str] = set()
        reason = None
        for entry in self.entries():
            if entry.get("agreement") != agreement:
                continue
            if entry["event"] == "task" and entry["ok"]:
                useful.add(entry["job"])
            elif entry["event"] == "rejected":
                useful.discard(entry["job"])
                reason = str(entry["reason"])
        return None if useful else reason

    def costs(self) -> dict[str, Decimal]:
        """Returns the GLM accepted for each agreement, by its id.

        It is the amount of the accepted invoice; if there is none, the sum of the last accepted debit note of each
        activity. Golem pays accepted debit notes, whatever happens to the invoice.
        """
        notes: dict[str, dict[str, Decimal]] = {}
        invoices: dict[str, Decimal] = {}
        for entry in self.entries():
            if entry["event"] == "debit_note":
                notes.setdefault(entry["agreement"], {})[entry["activity"]] = Decimal(entry["amount"])
            elif entry["event"] == "invoice":
                invoices[entry["agreement"]] = Decimal(entry["amount"])
        return {agreement: sum(own.values(), Decimal(0)) for agreement, own in notes.items()} | invoices

    def unpaid_invoices(self) -> dict[str, tuple[str, Decimal]]:
        """Returns the accepted invoices above 0 GLM that are not known to be paid: agreement → provider's id, GLM."""
        provider_of: dict[str, str] = {}
        unpaid: dict[str, tuple[str, Decimal]] = {}
        for entry in self.entries():
            agreement = entry.get("agreement", "")
            if entry["event"] == "agreement":
                provider_of[agreement] = entry["provider"]
            elif entry["event"] == "invoice" and Decimal(entry["amount"]) > 0:
                unpaid[agreement] = provider_of.get(agreement, ""), Decimal(entry["amount"])
            elif entry["event"] == "paid":
                unpaid.pop(agreement, None)
        return unpaid

    def too_small(self) -> dict[str, Decimal]:
        """Returns the GLM of each accepted invoice that the daemon will not send, by its agreement."""
        paid = self._noted("paid")
        return {agreement: glm for agreement, glm in self._noted("too_small").items() if agreement not in paid}

    def _noted(self, event: str) -> dict[str, Decimal]:
        return {entry["agreement"]: Decimal(entry["amount"]) for entry in self.entries() if entry["event"] == event}

    def rejected_bills(self) -> dict[str, Decimal]:
        """Returns the GLM of the rejected invoices of each provider, by its id."""
        provider_of: dict[str, str] = {}
        bills: dict[str, Decimal] = {}
        for entry in self.entries():
            if entry["event"] == "agreement":
                provider_of[entry["agreement"]] = entry["provider"]
            elif entry["event"] == "invoice_rejected" and entry["agreement"] in provider_of:
                provider = provider_of[entry["agreement"]]
                bills[provider] = bills.get(provider, Decimal(0)) + Decimal(entry["amount"])
        return bills

    def receipts(self) -> list[Receipt]:
        """Returns one receipt for each provider, in the order in which they were first hired."""
        payments, settled, too_small = self.costs(), self._noted("paid"), self.too_small()
        unbilled = {entry["agreement"] for entry in self.open_agreements()} & self._begun()
        provider_of: dict[str, str] = {}
        name_of: dict[str, str] = {}
        tasks: dict[str, int] = {}
        for entry in self.entries():
            agreement = entry.get("agreement", "")
            if entry["event"] == "agreement":
                provider_of[agreement] = entry["provider"]
                name_of[entry["provider"]] = entry["name"]
            elif entry["event"] == "task" and entry["ok"]:
                tasks[agreement] = tasks.get(agreement, 0) + 1
        receipts = []
        for provider, name in name_of.items():
            own = [agreement for agreement, owner in provider_of.items() if owner == provider]
            done = sum(tasks.get(agreement, 0) for agreement in own)
            paid = sum((payments.get(agreement, Decimal(0)) for agreement in own), Decimal(0))
            receipts.append(
                Receipt(
                    name, provider, len(own), done, paid, len(unbilled.intersection(own)),
                    settled_glm=sum((settled.get(agreement, Decimal(0)) for agreement in own), Decimal(0)),
                    too_small_glm=sum((too_small.get(agreement, Decimal(0)) for agreement in own), Decimal(0)),
                )
            )  # fmt: skip
        return receipts

    def spent(self) -> Decimal:
        """Returns the GLM that were accepted for payment so far; they leave the wallet."""
        return sum(self.costs().values(), Decimal(0))


def _event(entry: dict[str, Any]) -> dict[str, Any]:
    """Returns a line's object if it is an event with its fields; raises ValueError if not."""
    event = entry.get("event")
    if not isinstance(event, str):
        raise ValueError("it names no event")
    for name, kind in _FIELDS.get(event, ()):
        value = entry.get(name)
        if type(value) is not (str if kind is Decimal else kind):
            raise ValueError(f"the event {event!r:.50} has a wrong {name}, or none")
        if kind is Decimal and not _is_amount(str(value)):
            raise ValueError(f"the {name} of the event {event!r:.50} is no amount of GLM")
    return entry


def _is_amount(text: str) -> bool:
    try:
        amount = Decimal(text)
    except InvalidOperation:
        return False
    return amount.is_finite() and amount >= 0
