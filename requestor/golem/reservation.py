"""Reserves the rest of a run's budget with yagna, and pays from it what a killed process left open."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from requestor.errors import ConfigurationError
from requestor.golem.orphans import collect_bills, settle_orphans
from requestor.golem.wallet import Wallet
from requestor.money import Accounts, show_glm

# Agreements of 5 h or longer would need payments during the run, which yapapi's strategy then asks for.
LONGEST_RUN = timedelta(hours=4)


class Reservation:
    """The allocation of a run. One that yapapi makes would exist for ten years if this process were killed.

    Every method raises the errors of `Wallet`.
    """

    def __init__(self, wallet: Wallet, accounts: Accounts) -> None:
        self._wallet = wallet
        self._accounts = accounts
        self._allocation: str | None = None

    @property
    def allocation(self) -> str:
        """Returns the id of the allocation."""
        assert self._allocation is not None, "nothing is reserved"
        return self._allocation

    async def make(self) -> tuple[Decimal, str]:
        """Reserves the rest of the budget. Returns the amount in GLM, and the wallet's address.

        Releases what a killed process of this run had reserved. Raises ConfigurationError if nothing is left.
        """
        accounts = self._accounts
        for leaked in accounts.ledger.open_allocations():
            await self._wallet.release(leaked)
            accounts.ledger.record("allocation_released", id=leaked)
        left = accounts.budget - accounts.spent
        if left <= 0:
            raise ConfigurationError(
                f"--budget {show_glm(accounts.budget)}: this run has cost {show_glm(accounts.spent)} already, so that "
                "nothing is left. Give the command again with a larger budget."
            )
        self._allocation, address = await self._wallet.allocate(left, LONGEST_RUN + timedelta(hours=1))
        accounts.ledger.record("allocation", id=self._allocation, amount=left)
        return left, address

    async def settle_orphans(self) -> None:
        """Ends the agreements that a killed process of this run left open, and pays for them."""
        await settle_orphans(self._wallet, self._accounts, self.allocation, LONGEST_RUN.total_seconds())

    async def collect_bills(self) -> None:
        """Pays the invoices that have arrived, and does not wait for others."""
        await collect_bills(self._wallet, self._accounts, self.allocation, patience=0)

    async def release(self) -> None:
        if self._allocation is not None:
            await self._wallet.release(self._allocation)
            self._accounts.ledger.record("allocation_released", id=self._allocation)
            self._allocation = None
