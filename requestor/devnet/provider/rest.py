"""Calls the provider's part of yagna's REST API, and whatever else the devnet asks of a daemon."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from requestor.errors import DaemonRefused
from requestor.golem import DaemonClient

_MARKET, _ACTIVITY, _PAYMENT = "/market-api/v1", "/activity-api/v1", "/payment-api/v1"
_TIMEOUT = 90.0  # seconds, longer than any event is waited for


class ProviderRest(DaemonClient):
    """Calls one provider's daemon. It is used as `DaemonClient` is, and raises the same errors.

    Properties, agreements, notes, invoices and events are the JSON values of yagna's REST API. A method that returns
    events waits up to `timeout` seconds for the first of them, and returns an empty list if none comes.
    """

    def __init__(self, api_url: str, app_key: str) -> None:
        super().__init__(api_url, app_key, timeout=_TIMEOUT)

    # ---- market

    async def publish_offer(self, properties: Mapping[str, Any], constraints: str) -> str:
        """Publishes an offer on the market; returns its id."""
        offer = {"properties": dict(properties), "constraints": constraints}
        return str(await self.request("POST", f"{_MARKET}/offers", offer))

    async def offer_events(self, offer_id: str, timeout: float) -> list[dict[str, Any]]:
        """Returns the next events of an offer, such as proposals and agreements."""
        query = {"timeout": timeout, "maxEvents": 5}
        return await self._events(f"{_MARKET}/offers/{offer_id}/events", query)

    async def counter(self, offer_id: str, proposal_id: str, properties: Mapping[str, Any], constraints: str) -> str:
        """Answers a demand's proposal with a counter-proposal; returns the id of the latter."""
        proposal = {"properties": dict(properties), "constraints": constraints}
        return str(await self.request("POST", f"{_MARKET}/offers/{offer_id}/proposals/{proposal_id}", proposal))

    async def reject_proposal(self, offer_id: str, proposal_id: str, reason: Mapping[str, Any]) -> None:
        """Rejects a demand's proposal."""
        await self.request("POST", f"{_MARKET}/offers/{offer_id}/proposals/{proposal_id}/reject", dict(reason))

    async def approve_agreement(self, agreement_id: str, timeout: float) -> None:
        """Approves an agreement; `timeout` is in seconds."""
        await self.request("POST", f"{_MARKET}/agreements/{agreement_id}/approve", query={"timeout": timeout})

    async def reject_agreement(self, agreement_id: str, reason: Mapping[str, Any]) -> None:
        """Rejects an agreement that a requestor has proposed."""
        await self.request("POST", f"{_MARKET}/agreements/{agreement_id}/reject", dict(reason))

    async def terminate_agreement(self, agreement_id: str, reason: Mapping[str, Any]) -> None:
        """Terminates an approved agreement."""
        await self.request("POST", f"{_MARKET}/agreements/{agreement_id}/terminate", dict(reason))

    async def agreement(self, agreement_id: str) -> dict[str, Any]:
        """Returns one agreement."""
        found: dict[str, Any] = await self.request("GET", f"{_MARKET}/agreements/{agreement_id}")
        return found

    async def agreements(self, state: str | None = None) -> list[dict[str, Any]]:
        """Returns the agreements of the daemon; only those in `state`, if that is given."""
        query = {"state": state} if state else {}
        found: list[dict[str, Any]] = await self.request("GET", f"{_MARKET}/agreements", query=query)
        return found

    async def agreement_events(self, after: str, timeout: float) -> list[dict[str, Any]]:
        """Returns the events of agreements after the time `after` (ISO 8601)."""
        query = {"timeout": timeout, "afterTimestamp": after, "maxEvents": 10}
        return await self._events(f"{_MARKET}/agreementEvents", query)

    # ---- activity

    async def activity_events(self, after: str, timeout: float) -> list[dict[str, Any]]:
        """Returns the events of activities after the time `after` (ISO 8601)."""
        query = {"timeout": timeout, "afterTimestamp": after, "maxEvents": 10}
        return await self._events(f"{_ACTIVITY}/events", query)

    async def set_activity_state(self, activity_id: str, state: Mapping[str, Any]) -> None:
        """Sets the state of an activity."""
        await self.request("PUT", f"{_ACTIVITY}/activity/{activity_id}/state", dict(state))

    # ---- payment

    async def issue_debit_note(self, note: Mapping[str, Any]) -> str:
        """Issues a debit note, without sending it; returns its id."""
        return str((await self.request("POST", f"{_PAYMENT}/debitNotes", dict(note)))["debitNoteId"])

    async def send_debit_note(self, note_id: str) -> None:
        """Sends a debit note to the requestor."""
        await self.request("POST", f"{_PAYMENT}/debitNotes/{note_id}/send")

    async def debit_note_events(self, after: str, timeout: float) -> list[dict[str, Any]]:
        """Returns the events of debit notes after the time `after` (ISO 8601)."""
        query = {"timeout": timeout, "afterTimestamp": after, "maxEvents": 50}
        return await self._events(f"{_PAYMENT}/debitNoteEvents", query)

    async def issue_invoice(self, invoice: Mapping[str, Any]) -> str:
        """Issues an invoice, without sending it; returns its id."""
        return str((await self.request("POST", f"{_PAYMENT}/invoices", dict(invoice)))["invoiceId"])

    async def send_invoice(self, invoice_id: str) -> None:
        """Sends an invoice to the requestor."""
        await self.request("POST", f"{_PAYMENT}/invoices/{invoice_id}/send")

    async def invoices(self) -> list[dict[str, Any]]:
        """Returns all invoices of the daemon."""
        found: list[dict[str, Any]] = await self.request("GET", f"{_PAYMENT}/invoices")
        return found

    async def _events(self, path: str, query: Mapping[str, Any]) -> list[dict[str, Any]]:
        try:
            found: list[dict[str, Any]] = await self.request("GET", path, query=query)
        except DaemonRefused as error:
            if error.status == 408:  # no event has come within the time-out
                return []
            raise
        return found
