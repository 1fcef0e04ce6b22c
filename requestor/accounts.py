"""The promise that a budget is: what every hired activity may have cost at most, and which bills are accepted.

Golem bills after the work, and yapapi accepts any bill and stops at no budget. So nothing is started here unless
everything that can still be billed, at full load and until its deadline, fits under the budget together with it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal

from requestor.budget import Price, show_glm
from requestor.ledger import Ledger

RESERVE = Decimal("0.1")  # share of the budget that training leaves for the evaluation
BILLING_SLACK = 15.0  # seconds that a provider may bill beyond what we saw: its start-up, its last report, our clock
FAREWELL = 10.0  # seconds that it takes to end an activity that is not worth waiting with


@dataclass
class Activity:
    """One warm provider. Times are of the accounts' clock, in seconds.

    Attributes:
        agreement: under which it is billed.
        busy_until: when its present task must have ended; in the past where it waits.
        reported: the last cost that the daemon knew of, GLM.
        ended: when we ended it; None while it lives.
    """

    agreement: str
    price: Price
    threads: int
    started: float
    busy_until: float
    reported: Decimal = Decimal(0)
    ended: float | None = None


@dataclass
class Accounts:
    """All activities of a run, and the bills for them.

    Args:
        budget: GLM that may be paid, earlier sessions of the same run included.
        ledger: every accepted bill is on disk there before it counts.
    """

    budget: Decimal
    ledger: Ledger
    clock: Callable[[], float] = time.monotonic
    _activities: dict[str, Activity] = field(default_factory=dict)
    _invoiced: dict[str, Decimal] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._earlier = self.ledger.costs()  # of agreements of earlier sessions

    def open(self, activity: str, agreement: str, price: Price, threads: int) -> None:
        """An activity has begun, and costs money from now on."""
        self.ledger.record("activity", agreement=agreement, activity=activity)
        now = self.clock()
        self._activities[activity] = Activity(agreement, price, threads, started=now, busy_until=now)

    def adopt(self, agreement: str, price: Price, threads: int, age: float) -> None:
        """An agreement of an earlier session, `age` seconds old, has been ended: its bill will come."""
        now = self.clock()
        self._activities[agreement] = Activity(agreement, price, threads, now - age, busy_until=now, ended=now)

    def close(self, activity: str) -> None:
        """An activity has ended; its bill will come."""
        account = self._activities[activity]
        account.busy_until = account.ended = self.clock()

    def report(self, activity: str, cost: Decimal) -> Decimal:
        """What the daemon says that an activity has cost so far; returns what is new of it. Costs never fall."""
        account = self._activities[activity]
        before, account.reported = account.reported, max(account.reported, cost)
        return account.reported - before

    def too_dear(self, activity: str) -> str | None:
        """Why the usage that a provider reports cannot be: it comes to more than all its threads cost in that time."""
        account = self._activities[activity]
        most = _worst(account, self.clock())
        if account.reported <= most:
            return None
        return f"it reports usage worth {show_glm(account.reported)}, where time and price allow {show_glm(most)}"

    def promise(self, activity: str, seconds: float, reserve: Decimal = Decimal(0)) -> bool:
        """Let an activity work for so long, if the budget less the reserved share has room for it.

        The others may go on waiting until this task has ended: their waiting is counted, too.
        """
        until = self.clock() + seconds
        account = self._activities[activity]
        before, account.busy_until = account.busy_until, until
        if self._committed(until) <= self.budget * (1 - reserve):
            return True
        account.busy_until = before
        return False

    def rest(self, activity: str) -> None:
        """An activity's task is over: from now on it only waits."""
        self._activities[activity].busy_until = self.clock()

    def can_wait(self) -> bool:
        """Whether everybody who waits may go on waiting for a moment, and be sent home after it."""
        return self._committed(self.clock() + FAREWELL) <= self.budget

    @property
    def spent(self) -> Decimal:
        """GLM known to be owed or paid: invoices, and what running activities have reported."""
        running = (a.reported for a in self._activities.values() if a.agreement not in self._invoiced)
        return self._paid() + sum(running, Decimal(0))

    @property
    def committed(self) -> Decimal:
        """GLM that can be billed by now, at most."""
        return self._committed(self.clock())

    def accepted_amount(self, agreement: str, amount: Decimal) -> Decimal:
        """How much of a bill is accepted: all; nothing where time and price do not allow it, or all work was rejected.

        yapapi leaves a bill alone unless it is accepted in full.
        """
        own = [account for account in self._activities.values() if account.agreement == agreement]
        at_most = sum((_worst(account, self.clock()) for account in own), Decimal(0))
        within = 0 <= amount <= min(at_most, self.budget - self._paid(but=agreement))
        return amount if within and self.ledger.worthless(agreement) is None else Decimal(0)

    def debit_note(self, agreement: str, activity: str, amount: Decimal) -> None:
        """A debit note was accepted: `amount` is the activity's cost so far."""
        self.ledger.record("debit_note", agreement=agreement, activity=activity, amount=amount)
        if activity in self._activities:
            self.report(activity, amount)

    def invoice(self, agreement: str, amount: Decimal) -> None:
        """An invoice was accepted: it replaces everything else that was known of the agreement."""
        self.ledger.record("invoice", agreement=agreement, amount=amount)
        self._earlier.pop(agreement, None)
        self._invoiced[agreement] = amount

    def reject_invoice(self, agreement: str, amount: Decimal, reason: str) -> None:
        """An invoice was rejected; what was accepted of the agreement's debit notes before is paid all the same."""
        self.ledger.record("invoice_rejected", agreement=agreement, amount=amount, reason=reason)
        self._invoiced[agreement] = self.ledger.costs().get(agreement, Decimal(0))

    def _paid(self, but: str | None = None) -> Decimal:
        """Bills that were accepted, in this session and before; those of one agreement can be left out."""
        bills = {**self._earlier, **self._invoiced}
        return sum((amount for agreement, amount in bills.items() if agreement != but), Decimal(0))

    def _committed(self, until: float) -> Decimal:
        open_bills = (_worst(a, until) for a in self._activities.values() if a.agreement not in self._invoiced)
        return self._paid() + sum(open_bills, Decimal(0))


def _worst(account: Activity, until: float) -> Decimal:
    """The most that an activity can be billed for, if it lives until then or its task's end."""
    end = account.ended if account.ended is not None else max(until, account.busy_until)
    return account.price.at_full_load(end - account.started + BILLING_SLACK, account.threads)
