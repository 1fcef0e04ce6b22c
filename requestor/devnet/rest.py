"""The provider's half of yagna's REST API, and what the devnet asks of a daemon: a thin client, JSON in and out."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import Any

import aiohttp

from requestor.errors import DaemonUnreachable, GolemError

_MARKET, _ACTIVITY, _PAYMENT = "/market-api/v1", "/activity-api/v1", "/payment-api/v1"


class RestError(GolemError):
    """The daemon refused a request; `status` is HTTP's."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Rest:
    """One daemon, as the identity of one app key. Raises RestError or DaemonUnreachable from every method."""

    def __init__(self, api_url: str, app_key: str) -> None:
        self.api_url = api_url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {app_key}"}
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Rest:
        timeout = aiohttp.ClientTimeout(total=90, sock_connect=5)
        self._session = aiohttp.ClientSession(headers=self._headers, timeout=timeout)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def identity(self) -> str:
        """The node id."""
        return str((await self._call("GET", "/me"))["identity"])

    # ---- market

    async def publish_offer(self, properties: Mapping[str, Any], constraints: str) -> str:
        offer = {"properties": dict(properties), "constraints": constraints}
        return str(await self._call("POST", f"{_MARKET}/offers", offer))

    async def offer_events(self, offer_id: str, timeout: float) -> list[dict[str, Any]]:
        query = {"timeout": timeout, "maxEvents": 5}
        return await self._events(f"{_MARKET}/offers/{offer_id}/events", query)

    async def counter(self, offer_id: str, proposal_id: str, properties: Mapping[str, Any], constraints: str) -> str:
        proposal = {"properties": dict(properties), "constraints": constraints}
        return str(await self._call("POST", f"{_MARKET}/offers/{offer_id}/proposals/{proposal_id}", proposal))

    async def reject_proposal(self, offer_id: str, proposal_id: str, reason: Mapping[str, Any]) -> None:
        await self._call("POST", f"{_MARKET}/offers/{offer_id}/proposals/{proposal_id}/reject", dict(reason))

    async def approve_agreement(self, agreement_id: str, timeout: float) -> None:
        await self._call("POST", f"{_MARKET}/agreements/{agreement_id}/approve", query={"timeout": timeout})

    async def reject_agreement(self, agreement_id: str, reason: Mapping[str, Any]) -> None:
        await self._call("POST", f"{_MARKET}/agreements/{agreement_id}/reject", dict(reason))

    async def terminate_agreement(self, agreement_id: str, reason: Mapping[str, Any]) -> None:
        await self._call("POST", f"{_MARKET}/agreements/{agreement_id}/terminate", dict(reason))

    async def agreement(self, agreement_id: str) -> dict[str, Any]:
        found: dict[str, Any] = await self._call("GET", f"{_MARKET}/agreements/{agreement_id}")
        return found

    async def agreements(self, state: str | None = None) -> list[dict[str, Any]]:
        query = {"state": state} if state else {}
        found: list[dict[str, Any]] = await self._call("GET", f"{_MARKET}/agreements", query=query)
        return found

    async def agreement_events(self, after: str, timeout: float) -> list[dict[str, Any]]:
        query = {"timeout": timeout, "afterTimestamp": after, "maxEvents": 10}
        return await self._events(f"{_MARKET}/agreementEvents", query)

    # ---- activity

    async def activity_events(self, after: str, timeout: float) -> list[dict[str, Any]]:
        query = {"timeout": timeout, "afterTimestamp": after, "maxEvents": 10}
        return await self._events(f"{_ACTIVITY}/events", query)

    async def set_activity_state(self, activity_id: str, state: Mapping[str, Any]) -> None:
        await self._call("PUT", f"{_ACTIVITY}/activity/{activity_id}/state", dict(state))

    # ---- payment

    async def issue_debit_note(self, note: Mapping[str, Any]) -> str:
        return str((await self._call("POST", f"{_PAYMENT}/debitNotes", dict(note)))["debitNoteId"])

    async def send_debit_note(self, note_id: str) -> None:
        await self._call("POST", f"{_PAYMENT}/debitNotes/{note_id}/send")

    async def debit_note_events(self, after: str, timeout: float) -> list[dict[str, Any]]:
        query = {"timeout": timeout, "afterTimestamp": after, "maxEvents": 50}
        return await self._events(f"{_PAYMENT}/debitNoteEvents", query)

    async def issue_invoice(self, invoice: Mapping[str, Any]) -> str:
        return str((await self._call("POST", f"{_PAYMENT}/invoices", dict(invoice)))["invoiceId"])

    async def send_invoice(self, invoice_id: str) -> None:
        await self._call("POST", f"{_PAYMENT}/invoices/{invoice_id}/send")

    async def invoices(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = await self._call("GET", f"{_PAYMENT}/invoices")
        return found

    # ---- HTTP

    async def _events(self, path: str, query: Mapping[str, Any]) -> list[dict[str, Any]]:
        try:
            found: list[dict[str, Any]] = await self._call("GET", path, query=query)
        except RestError as error:
            if error.status == 408:  # nothing happened yet
                return []
            raise
        return found

    async def _call(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, query: Mapping[str, Any] | None = None
    ) -> Any:
        if self._session is None:
            raise RuntimeError("use `async with`")
        try:
            async with self._session.request(
                method, self.api_url + path, json=body, params=dict(query or {})
            ) as response:
                text = await response.text()
                if response.status >= 400:
                    raise RestError(
                        response.status, f"yagna answered {response.status} to {method} {path}: {text[:300]}"
                    )
                return await response.json(content_type=None) if text else None
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
            raise DaemonUnreachable(
                f"No yagna daemon answers at {self.api_url} ({error or type(error).__name__})."
            ) from error
