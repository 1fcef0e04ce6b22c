"""The money that a run has set aside with yagna: an allocation of what is left of its budget, and what it settles."""

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
    """Our own allocation: yapapi's would live for ten years if this process were killed.

    Every method raises what `Wallet` raises.
    """

    def __init__(self, wallet: Wallet, accounts: Accounts) -> None:
        self._wallet = wallet
        self._accounts = accounts
        self._allocation: str | None = None

    @property
    def allocation(self) -> str:
        """Its id."""
        assert self._allocation is not None, "nothing is reserved"
        return self._allocation

    async def make(self) -> tuple[Decimal, str]:
        """Reserve what is left of the budget. Returns the amount, GLM, and the wallet's address.

        What a killed process of this run had reserved is released. Raises ConfigurationError where nothing is left.
        """
        accounts = self._accounts
        for leaked in accounts.ledger.open_allocations():
            await self._wallet.release(leaked)
            accounts.ledger.record("allocation_released", id=leaked)
        left = accounts.budget - accounts.spent
        if left <= 0:
            raise ConfigurationError(
                f"--budget {show_glm(accounts.budget)}: this run has cost {show_glm(accounts.spent)} already, so that "
                "nothing is left; give the command again with a larger one."
            )
        self._allocation, address = await self._wallet.allocate(left, LONGEST_RUN + timedelta(hours=1))
        accounts.ledger.record("allocation", id=self._allocation, amount=left)
        return left, address

    async def settle_orphans(self) -> None:
        """End and pay what a killed process of this run had hired."""
        await settle_orphans(self._wallet, self._accounts, self.allocation, LONGEST_RUN.total_seconds())

    async def collect_bills(self) -> None:
        """Pay the invoices that are there, without waiting for others."""
        await collect_bills(self._wallet, self._accounts, self.allocation, patience=0)

    async def release(self) -> None:
        if self._allocation is not None:
            await self._wallet.release(self._allocation)
            self._accounts.ledger.record("allocation_released", id=self._allocation)
            self._allocation = None
