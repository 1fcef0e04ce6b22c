"""Manages the requestor's money and agreements through its own daemon: allocations, invoices, terminations."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

from requestor.errors import DaemonRefused, DaemonUnreachable, WalletEmpty
from requestor.golem.daemon import DaemonClient
from requestor.golem.networks import GolemConnection, is_real_money
from requestor.golem.retrying import PATIENCE, Trouble, repeat_request
from requestor.money import show_glm

_INSUFFICIENT_FUNDS = ("insufficient-account-funds", "insufficient funds")  # of 0.17 releases, in lower case
_GONE = (404, 410)
_ENDED = 409
ACKNOWLEDGED_SECONDS = 10  # time that a provider has to acknowledge that its bill was accepted
BILL_PATIENCE = 20.0  # seconds for which a bill is tried again, so that one bill does not hold up all others


class Wallet(DaemonClient):
    """The requestor's daemon with its allocations and payments.

    It is used, and fails, as `DaemonClient`, but it waits for a daemon that is busy or restarted.

    Args:
        connection: the daemon.
        timeout: seconds that one request may take.
        patience: as for `DaemonClient`.
    """

    def __init__(self, connection: GolemConnection, *, timeout: float = 20.0, patience: float = PATIENCE) -> None:
        super().__init__(connection.api_url, connection.app_key, timeout=timeout, patience=patience)
        self._connection = connection

    async def allocate(self, amount: Decimal, lifetime: timedelta) -> tuple[str, str]:
        """Reserves `amount` GLM: nothing beyond that can be paid. The allocation expires if nobody releases it.

        Returns (allocation id, wallet address). Raises WalletEmpty if the wallet holds less.
        """
        address = await self.identity()
        until = datetime.now(timezone.utc) + lifetime
        request = {
            "address": address,
            "paymentPlatform": self._connection.platform,
            "totalAmount": str(amount),
            "timeout": until.isoformat(),
            "makeDeposit": False,
        }

        async def attempt() -> str:
            try:
                answer = await self.request("POST", "/payment-api/v1/allocations", request, patience=0)
                return str(answer["allocationId"])
            except (DaemonRefused, DaemonUnreachable) as error:
                if isinstance(error, DaemonRefused) and _names_lack_of_funds(error):
                    raise self._empty(address, amount) from error
                # The answer may have been lost, and a second allocation would hold the money twice.
                if self.trouble_of(error) in (None, Trouble.UNTOUCHED) or not (made := await self._made(until)):
                    raise
                return made

        return await repeat_request("PUT", "allocation", attempt, self.trouble_of, self.patience), address

    def _empty(self, address: str, amount: Decimal) -> WalletEmpty:
        network = self._connection.network
        way_out = "send GLM and some gas to it" if is_real_money(network) else "get test GLM with `yagna payment fund`"
        return WalletEmpty(
            f"The wallet {address} on {network} holds less than the budget of {show_glm(amount)}: {way_out}, "
            "or choose a smaller --budget."
        )

    async def _made(self, until: datetime) -> str | None:
        """Returns the id of the allocation that expires at this time; None if there is none."""
        for allocation in await self.request("GET", "/payment-api/v1/allocations") or []:
            expires = datetime.fromisoformat(str(allocation.get("timeout") or "1970-01-01Z").replace("Z", "+00:00"))
            if abs(expires - until) < timedelta(milliseconds=1):
                return str(allocation["allocationId"])
        return None

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

    async def invoices(self) -> list[dict[str, Any]]:
        """Returns all invoices that were received: `invoiceId`, `agreementId`, `amount`, `status` and more."""
        invoices: list[dict[str, Any]] = await self.request("GET", "/payment-api/v1/invoices") or []
        return invoices

    async def withdraw_demands(self, mark: str) -> None:
        """Takes the demands off the market that carry the mark of a run, for example after a lost answer."""
        for demand in await self.request("GET", "/market-api/v1/demands") or []:
            if mark in json.dumps(demand.get("properties", {})):
                try:
                    await self.request("DELETE", f"/market-api/v1/demands/{demand['demandId']}")
                except DaemonRefused as error:
                    if error.status not in _GONE:
                        raise

    async def accept(self, invoice_id: str, amount: Decimal, allocation_id: str) -> None:
        """Accepts an invoice for payment from an allocation; one that is accepted already stays so."""
        body = {"totalAmountAccepted": str(amount), "allocationId": allocation_id}
        path = f"/payment-api/v1/invoices/{invoice_id}/accept"
        await self.request("POST", path, body, {"timeout": ACKNOWLEDGED_SECONDS}, patience=BILL_PATIENCE)

    async def reject(self, invoice_id: str, code: str, message: str) -> None:
        """Refuses to pay an invoice, and tells its sender why. code: BAD_SERVICE or INCORRECT_AMOUNT."""
        body = {"rejectionReason": code, "totalAmountAccepted": "0", "message": message}
        await self.request("POST", f"/payment-api/v1/invoices/{invoice_id}/reject", body, patience=BILL_PATIENCE)


def _names_lack_of_funds(error: DaemonRefused) -> bool:
    return any(words in error.answer.lower() for words in _INSUFFICIENT_FUNDS)
