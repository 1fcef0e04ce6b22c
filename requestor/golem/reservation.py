"""Reserves the rest of a run's budget with yagna, and pays from it what a killed process left open."""

from __future__ import annotations

import logging
import math
import time
from datetime import timedelta
from decimal import Decimal

from requestor.errors import ConfigurationError, GolemError
from requestor.golem.bills import collect_bills, note_payments, settle_orphans
from requestor.golem.leftovers import Leftover, release_or_remember
from requestor.golem.wallet import Wallet
from requestor.money import Accounts, show_glm

# Agreements of 5 h or longer would need payments before their end, which yapapi's strategy then asks for.
LONGEST_AGREEMENT = timedelta(hours=4)
# The demand is published anew after half of this time, so that a new agreement has at least the other half before it.
# One minute remains for the last files and the bill.
LONGEST_TASK = LONGEST_AGREEMENT / 2 - timedelta(minutes=1)
LIFETIME = LONGEST_AGREEMENT + timedelta(
    hours=1
)  # of an allocation: the bill of the last agreement comes after its end

logger = logging.getLogger(__name__)


def agreements_for(seconds: float) -> int:
    """Returns the number of agreements, one after the other, that a provider signs for so many seconds of work."""
    return max(1, math.ceil(seconds / LONGEST_AGREEMENT.total_seconds()))


class Reservation:
    """The allocation of a run. One that yapapi makes would exist for ten years if this process were killed.

    Every method raises the errors of `Wallet`, except `release`, `note_payments`, `end_agreement` and
    `withdraw_demands`.
    """

    def __init__(self, wallet: Wallet, accounts: Accounts) -> None:
        self._wallet = wallet
        self._accounts = accounts
        self._allocation: str | None = None
        self._amount = Decimal(0)
        self._until = 0.0

    @property
    def allocation(self) -> str:
        """Returns the id of the allocation."""
        assert self._allocation is not None, "nothing is reserved"
        return self._allocation

    @property
    def seconds_left(self) -> float:
        """Returns the seconds until the allocation expires."""
        return self._until - time.time()

    async def make(self) -> tuple[Decimal, str]:
        """Reserves what no accepted bill has used of the budget; returns this amount in GLM, and the wallet's address.

        Releases what a killed process of this run had reserved. Raises ConfigurationError if nothing is left.
        """
        accounts = self._accounts
        for leaked in accounts.ledger.open_allocations():
            await self._wallet.release(leaked)
            accounts.ledger.record("allocation_released", id=leaked)
        left = accounts.budget - accounts.accepted
        if left <= 0:
            raise ConfigurationError(
                f"--budget {show_glm(accounts.budget)}: this run has cost {show_glm(accounts.accepted)} already, so "
                "that nothing is left. Give the command again with a larger budget."
            )
        self._allocation, address = await self._wallet.allocate(left, LIFETIME)
        self._amount, self._until = left, time.time() + LIFETIME.total_seconds()
        accounts.ledger.record("allocation", id=self._allocation, amount=left)
        return left, address

    async def renew(self) -> None:
        """Makes a new allocation in place of the present one, because yagna releases one at its end in any case."""
        await self._wallet.release(self.allocation)
        self._accounts.ledger.record("allocation_released", id=self.allocation)
        self._allocation = None
        await self.make()

    async def settle_orphans(self) -> None:
        """Ends the agreements that a killed process of this run left open, and pays for them."""
        await settle_orphans(self._wallet, self._accounts, self.allocation, LONGEST_AGREEMENT.total_seconds())

    async def collect_bills(self, patience: float = 0) -> None:
        """Pays the invoices that have arrived, and waits up to `patience` seconds for others."""
        await collect_bills(self._wallet, self._accounts, self.allocation, patience)

    async def note_payments(self) -> None:
        """Writes into the ledger which accepted bills the daemon has paid by now; raises nothing."""
        try:
            await note_payments(self._wallet, self._accounts.ledger)
        except GolemError as error:
            logger.warning("the daemon did not tell what it has paid: %s", error)

    async def end_agreement(self, agreement: str, reason: str, until: float) -> None:
        """Ends an agreement; if that fails, remembers it. `until`: Unix time at which it ends by itself."""
        leftover = Leftover("agreement", agreement, self._wallet.api_url, "", until)
        await release_or_remember(leftover, lambda: self._wallet.terminate(agreement, reason))

    async def withdraw_demands(self, mark: str) -> None:
        """Takes the demands off the market that carry a run's mark; one that stays ends by itself after an hour."""
        try:
            await self._wallet.withdraw_demands(mark)
        except GolemError as error:
            logger.warning("a demand may stay on the market for an hour: %s", error)

    async def release(self) -> None:
        """Releases the allocation. If that fails, remembers it for the next command, and raises nothing."""
        if (allocation := self._allocation) is None:
            return
        leftover = Leftover("allocation", allocation, self._wallet.api_url, str(self._amount), self._until)
        if await release_or_remember(leftover, lambda: self._wallet.release(allocation)):
            self._accounts.ledger.record("allocation_released", id=allocation)
        self._allocation = None
