"""Keeps a run within its budget: limits what every hired activity may cost, and decides which bills are accepted.

Providers bill after the work, and yapapi accepts every bill and knows no budget. So a task is started only if the
budget covers the task and everything else that can be billed until the task's deadline, with all activities at full
load.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal

from requestor.money.amounts import Price, show_glm
from requestor.money.clock import CLOCK
from requestor.records import Ledger

EVALUATION_RESERVE = Decimal("0.1")  # share of the budget that training leaves for the evaluation
# Seconds that a provider may bill beyond the time that was measured here, because of its start-up, the time of its last
# report, and differences of the clocks.
BILLING_SLACK = 15.0
# No provider is hired if the budget covers less time: to start, to be sent its first files, and for a short task.
SHORTEST_ATTEMPT_SECONDS = 150.0
FAREWELL = 10.0  # seconds that it takes to end an activity that the budget does not allow to wait any longer


@dataclass
class Activity:
    """One activity of a hired provider, which costs GLM until it ends. Times are in seconds, of the accounts' clock.

    Attributes:
        agreement: id of the agreement under which the activity is billed.
        price: the provider's price.
        threads: number of threads that the provider may bill.
        started: time at which the activity was created.
        busy_until: deadline of its task; a time in the past if it waits for a task.
        claimed: the highest cost in GLM that the provider has reported so far.
        reported: the part of this cost that is possible in the time, GLM.
        reported_at: time of the last report; None if the provider has reported nothing.
        ended: time at which the requestor ended the activity; None while it runs.
    """

    agreement: str
    price: Price
    threads: int
    started: float
    busy_until: float
    claimed: Decimal = Decimal(0)
    reported: Decimal = Decimal(0)
    reported_at: float | None = None
    ended: float | None = None


@dataclass
class Accounts:
    """Keeps account of all activities of a run, and of the bills for them.

    Args:
        budget: the most GLM that may be paid, earlier sessions of the same run included.
        ledger: the run's ledger, for hired activities, promised tasks and bills.
        clock: returns the time in seconds; it must go on while this machine sleeps, as the providers bill on.
    """

    budget: Decimal
    ledger: Ledger
    clock: Callable[[], float] = CLOCK
    _activities: dict[str, Activity] = field(default_factory=dict)
    _invoiced: dict[str, Decimal] = field(default_factory=dict)
    _approved: dict[str, Decimal] = field(default_factory=dict)  # invoices whose acceptance is not in the ledger yet

    def __post_init__(self) -> None:
        self._earlier = self.ledger.costs()  # costs of earlier sessions, by agreement

    def room_for(self, price: Price, threads: int) -> bool:
        """Returns True if the budget covers one more provider with the shortest task, and all that others may bill."""
        until = self.clock() + SHORTEST_ATTEMPT_SECONDS
        return self._committed(until) + price.at_most(SHORTEST_ATTEMPT_SECONDS + BILLING_SLACK, threads) <= self.budget

    def hire(self, agreement: str, price: Price, threads: int) -> bool:
        """Returns True if an activity may be created under an agreement; if so, the activity counts from now on.

        Its start price is owed as soon as it exists, even if it never works.
        """
        if not self.room_for(price, threads):
            return False
        self.ledger.record("activity", agreement=agreement)
        now = self.clock()
        self._activities[agreement] = Activity(agreement, price, threads, started=now, busy_until=now)
        return True

    def open(self, activity: str, agreement: str) -> None:
        """Records that the activity for which `hire` was asked has begun."""
        self.ledger.record("activity_created", agreement=agreement, activity=activity)
        self._activities[activity] = self._activities.pop(agreement)

    def adopt(self, agreement: str, price: Price, threads: int, age: float) -> None:
        """Records that an agreement of an earlier session has been ended, so that its bill is expected.

        Args:
            agreement: id of the agreement.
            price: the provider's price.
            threads: number of threads that the provider may bill.
            age: seconds since the agreement was made.
        """
        now, noted = self.clock(), self._earlier.pop(agreement, Decimal(0))
        self._activities[agreement] = Activity(agreement, price, threads, now - age, now, reported=noted, ended=now)

    def close(self, activity: str) -> None:
        """Records that an activity has ended, or could not be created; a bill for it may still come."""
        account = self._activities[activity]
        account.busy_until = account.ended = self.clock()

    def report(self, activity: str, cost: Decimal) -> None:
        """Records the cost in GLM that a provider reports for its activity so far.

        The recorded cost never falls, and never rises faster than at full load. The report binds the provider: it may
        not bill more for this time later.
        """
        account, now = self._activities[activity], self.clock()
        account.claimed = max(account.claimed, cost)
        account.reported = max(account.reported, min(cost, _at_full_load(account, now)))
        account.reported_at = now

    def too_dear(self, activity: str) -> str | None:
        """Returns the reason why a reported cost is impossible; None if it is possible.

        It is impossible if all threads, always busy, cost less in that time, even with the overhead of a VM.
        """
        account = self._activities[activity]
        most = _at_full_load(account, self.clock())
        if account.claimed <= most:
            return None
        return f"it reports usage worth {show_glm(account.claimed)}, where time and price allow {show_glm(most)}"

    def promise(self, activity: str, job: str, seconds: float, reserve: Decimal = Decimal(0)) -> bool:
        """Lets an activity work on a job for some time, if the budget covers it; returns True if so.

        The other activities may wait until this task has ended, so their waiting is counted, too.

        Args:
            activity: id of the activity.
            job: id of the job.
            seconds: time limit of the job.
            reserve: share of the budget, 0 to 1, that must remain.
        """
        until = self.clock() + seconds
        account = self._activities[activity]
        before, account.busy_until = account.busy_until, until
        committed = self._committed(until)
        if committed <= self.budget * (1 - reserve):
            self.ledger.record(
                "promise", agreement=account.agreement, job=job, seconds=round(seconds), committed=committed
            )
            return True
        account.busy_until = before
        return False

    def rest(self, activity: str) -> None:
        """Records that an activity's task has ended, so that the activity waits for the next one."""
        self._activities[activity].busy_until = self.clock()

    def can_wait(self) -> bool:
        """Returns True if the budget allows that the activities wait a little longer and are ended then."""
        return self._committed(self.clock() + FAREWELL) <= self.budget

    @property
    def spent(self) -> Decimal:
        """Returns the GLM that are known to be owed or paid: accepted bills, and the costs that activities reported."""
        running = (a.reported for a in self._activities.values() if not self._billed(a.agreement))
        return self._paid() + sum(running, Decimal(0))

    @property
    def accepted(self) -> Decimal:
        """Returns the GLM of all bills that are accepted or being accepted, of this session and earlier ones."""
        return self._paid()

    @property
    def committed(self) -> Decimal:
        """Returns the most GLM that can be billed by now."""
        return self._committed(self.clock())

    def allows(self, agreement: str, amount: Decimal) -> bool:
        """Returns True if a bill may be accepted.

        It may be if the amount is possible by time, price and reported cost, if the budget covers it, and if not all
        results of the agreement were rejected.
        """
        own = [account for account in self._activities.values() if account.agreement == agreement]
        at_most = sum((_worst(account, self.clock()) for account in own), Decimal(0))
        within = 0 <= amount <= min(at_most, self.budget - self._paid(but=agreement))
        return within and self.ledger.worthless(agreement) is None

    def approve(self, agreement: str, amount: Decimal) -> bool:
        """Returns True if an invoice is to be accepted.

        If so, the budget counts it from now on, until `invoice` says that the daemon has accepted it, or `revoke` that
        it has not.
        """
        if not self.allows(agreement, amount):
            return False
        self._approved[agreement] = amount
        return True

    def revoke(self, agreement: str) -> None:
        """Records that an approved invoice could not be accepted; it is open again. An accepted one stays so."""
        self._approved.pop(agreement, None)

    def debit_note(self, agreement: str, activity: str, amount: Decimal) -> None:
        """Records an accepted debit note. Its amount, the activity's cost so far, is paid apart from the invoice."""
        self.ledger.record("debit_note", agreement=agreement, activity=activity, amount=amount)
        if activity in self._activities:
            self.report(activity, amount)

    def invoice(self, agreement: str, amount: Decimal) -> None:
        """Records an accepted invoice, which replaces all other amounts of the agreement."""
        self.ledger.record("invoice", agreement=agreement, amount=amount)
        self._earlier.pop(agreement, None)
        self._approved.pop(agreement, None)
        self._invoiced[agreement] = amount

    def reject_invoice(self, agreement: str, amount: Decimal, reason: str) -> None:
        """Records a rejected invoice; debit notes of the agreement that were accepted before are paid nevertheless."""
        self.ledger.record("invoice_rejected", agreement=agreement, amount=amount, reason=reason)
        self._invoiced[agreement] = self.ledger.costs().get(agreement, Decimal(0))

    def _paid(self, but: str | None = None) -> Decimal:
        """Returns the GLM of approved and accepted bills, also of earlier sessions, without those of one agreement."""
        bills = {**self._earlier, **self._approved, **self._invoiced}
        return sum((amount for agreement, amount in bills.items() if agreement != but), Decimal(0))

    def _billed(self, agreement: str) -> bool:
        return agreement in self._invoiced or agreement in self._approved

    def _committed(self, until: float) -> Decimal:
        open_bills = (_worst(a, until) for a in self._activities.values() if not self._billed(a.agreement))
        return self._paid() + sum(open_bills, Decimal(0))


def _worst(account: Activity, until: float) -> Decimal:
    """Returns the most GLM that can be billed for an activity.

    It is assumed to run until `until` or until its task's deadline, whichever is later; an ended activity costs no
    more.
    """
    end = account.ended if account.ended is not None else max(until, account.busy_until)
    full = _at_full_load(account, end)
    if account.reported_at is None:
        return full
    since = max(0.0, end - account.reported_at + BILLING_SLACK)
    start = account.price.start
    return min(full, max(account.reported, start) + account.price.at_most(since, account.threads) - start)


def _at_full_load(account: Activity, end: float) -> Decimal:
    return account.price.at_most(end - account.started + BILLING_SLACK, account.threads)
