"""The requestor's own daemon over REST: who we are, what we have, and the allocation that caps the spending."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import aiohttp

from requestor.budget import show_glm
from requestor.errors import AppKeyMissing, DaemonUnreachable, GolemError, WalletEmpty
from requestor.golem.networks import Connection, is_real_money

_INSUFFICIENT_FUNDS = "insufficient-account-funds"
_TIMEOUT = aiohttp.ClientTimeout(total=30)


class Wallet:
    """The daemon's identity and its allocations.

    Raises, from every method: DaemonUnreachable, AppKeyMissing, GolemError.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def address(self) -> str:
        """The node id of the app key's identity, which is also its wallet's address: 0x and 40 hex digits."""
        me: dict[str, Any] = await self.call("GET", "/me")
        return str(me["identity"])

    async def allocate(self, amount: Decimal, lifetime: timedelta) -> tuple[str, str]:
        """Reserve `amount` GLM: nothing beyond it can be paid. Expires by itself, should nobody release it.

        Returns (allocation id, wallet address). Raises WalletEmpty where the wallet holds less.
        """
        address = await self.address()
        request = {
            "address": address,
            "paymentPlatform": self._connection.platform,
            "totalAmount": str(amount),
            "timeout": (datetime.now(timezone.utc) + lifetime).isoformat(),
            "makeDeposit": False,
        }
        try:
            allocation: dict[str, Any] = await self.call("POST", "/payment-api/v1/allocations", request)
        except GolemError as error:
            if _INSUFFICIENT_FUNDS not in str(error):
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
        """Give a reservation back. One that is gone already is no error."""
        try:
            await self.call("DELETE", f"/payment-api/v1/allocations/{allocation_id}")
        except GolemError as error:
            if not any(f"answered {code} " in str(error) for code in (404, 410)):
                raise

    async def terminate(self, agreement_id: str, reason: str) -> None:
        """End an agreement. One that has ended already, or is unknown by now, is no error."""
        body = {"message": reason, "golem.requestor.code": "Cancelled"}
        try:
            await self.call("POST", f"/market-api/v1/agreements/{agreement_id}/terminate", body)
        except GolemError as error:
            if not any(f"answered {code} " in str(error) for code in (404, 409, 410)):
                raise

    async def invoices(self, agreement_id: str) -> list[dict[str, Any]]:
        """The invoices that were received for an agreement: `invoiceId`, `amount`, `status` and more."""
        invoices: list[dict[str, Any]] = await self.call("GET", "/payment-api/v1/invoices") or []
        return [invoice for invoice in invoices if invoice["agreementId"] == agreement_id]

    async def accept(self, invoice_id: str, amount: Decimal, allocation_id: str) -> None:
        """Accept an invoice for payment from an allocation."""
        body = {"totalAmountAccepted": str(amount), "allocationId": allocation_id}
        await self.call("POST", f"/payment-api/v1/invoices/{invoice_id}/accept", body)

    async def reject(self, invoice_id: str, code: str, message: str) -> None:
        """Refuse to pay an invoice, and tell its sender why. code: BAD_SERVICE or INCORRECT_AMOUNT."""
        body = {"rejectionReason": code, "totalAmountAccepted": "0", "message": message}
        await self.call("POST", f"/payment-api/v1/invoices/{invoice_id}/reject", body)

    async def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """One request to the daemon: JSON in, JSON out."""
        url = self._connection.api_url + path
        headers = {"Authorization": f"Bearer {self._connection.app_key}"}
        try:
            async with (
                aiohttp.ClientSession(headers=headers, timeout=_TIMEOUT) as session,
                session.request(method, url, json=body) as response,
            ):
                text = await response.text()
                if response.status == 401:
                    raise AppKeyMissing(
                        f"The yagna daemon at {self._connection.api_url} does not know this app key: set "
                        "YAGNA_APPKEY to one that `yagna app-key list` shows."
                    )
                if response.status >= 400:
                    raise GolemError(f"The yagna daemon answered {response.status} to {method} {path}: {text[:1000]}")
                return await response.json(content_type=None) if text else None
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
            raise DaemonUnreachable(
                f"No yagna daemon answers at {self._connection.api_url} ({error or type(error).__name__}): start one "
                "with `yagna service run`, or a local Golem with `nima-golem devnet up --detach`."
            ) from error
