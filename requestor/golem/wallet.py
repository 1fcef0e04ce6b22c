"""Manages the requestor's money and agreements through its own daemon: allocations, invoices, terminations."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

from requestor.errors import DaemonRefused, WalletEmpty
from requestor.golem.daemon import DaemonClient
from requestor.golem.networks import GolemConnection, is_real_money
from requestor.money import show_glm

_INSUFFICIENT_FUNDS = "insufficient-account-funds"
_GONE = (404, 410)
_ENDED = 409


class Wallet(DaemonClient):
    """The requestor's daemon with its allocations and payments. It is used, and fails, as `DaemonClient`."""

    def __init__(self, connection: GolemConnection) -> None:
        super().__init__(connection.api_url, connection.app_key)
        self._connection = connection

    async def allocate(self, amount: Decimal, lifetime: timedelta) -> tuple[str, str]:
        """Reserves `amount` GLM: nothing beyond that can be paid. The allocation expires if nobody releases it.

        Returns (allocation id, wallet address). Raises WalletEmpty if the wallet holds less.
        """
        address = await self.identity()
        request = {
            "address": address,
            "paymentPlatform": self._connection.platform,
            "totalAmount": str(amount),
            "timeout": (datetime.now(timezone.utc) + lifetime).isoformat(),
            "makeDeposit": False,
        }
        try:
            allocation: dict[str, Any] = await self.request("POST", "/payment-api/v1/allocations", request)
        except DaemonRefused as error:
            if _INSUFFICIENT_FUNDS not in error.answer:
                raise
            network = self._connection.network
            way_out = (
                "send GLM and some gas to it" if is_real_money(network) else "get test GLM with `yagna payment fund`"
            )
            raise WalletEmpty(
                f"The wallet {address} on {network} holds less than the budget of {show_glm(amount)}: {way_out}, "
                "or choose a smaller --budget."
            ) from error
        return str(allocation["allocationId"]), address

    async def release(self, allocation_id: str) -> None:
        """Releases an allocation. It is no error if the allocation does not exist any more."""
        try:
            await self.request("DELETE", f"/payment-api/v1/allocations/{allocation_id}")
        except DaemonRefused as error:
            if error.status not in _GONE:
                raise

    async def terminate(self, agreement_id: str, reason: str) -> None:
        """Ends an agreement. It is no error if the agreement has ended already or is unknown by now."""
        body = {"message": reason, "golem.requestor.code": "Cancelled"}
        try:
            await self.request("POST", f"/market-api/v1/agreements/{agreement_id}/terminate", body)
        except DaemonRefused as error:
            if error.status not in (*_GONE, _ENDED):
                raise

    async def invoices(self, agreement_id: str) -> list[dict[str, Any]]:
        """Returns the invoices that were received for an agreement: `invoiceId`, `amount`, `status` and more."""
        invoices: list[dict[str, Any]] = await self.request("GET", "/payment-api/v1/invoices") or []
        return [invoice for invoice in invoices if invoice["agreementId"] == agreement_id]

    async def accept(self, invoice_id: str, amount: Decimal, allocation_id: str) -> None:
        """Accepts an invoice for payment from an allocation."""
        body = {"totalAmountAccepted": str(amount), "allocationId": allocation_id}
        await self.request("POST", f"/payment-api/v1/invoices/{invoice_id}/accept", body)

    async def reject(self, invoice_id: str, code: str, message: str) -> None:
        """Refuses to pay an invoice, and tells its sender why. code: BAD_SERVICE or INCORRECT_AMOUNT."""
        body = {"rejectionReason": code, "totalAmountAccepted": "0", "message": message}
        await self.request("POST", f"/payment-api/v1/invoices/{invoice_id}/reject", body)
