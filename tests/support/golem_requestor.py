"""Acts as a requestor over plain REST, for tests that need what yapapi hides: proposals, unaccepted notes, silence."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import aiohttp

from requestor.devnet.state import PLATFORM, Devnet
from requestor.golem.property_names import ACCEPT_TIMEOUT, CHOSEN_PLATFORM, EXPIRATION

MARKET, ACTIVITY, PAYMENT = "/market-api/v1", "/activity-api/v1", "/payment-api/v1"


class Refused(Exception):
    """Says that the daemon answered with an HTTP error."""


class Requestor:
    """Acts as one requestor on a devnet's daemon, with an allocation of 1 GLM."""

    def __init__(self, session: aiohttp.ClientSession, devnet: Devnet) -> None:
        self._session, self._devnet = session, devnet
        self.allocation = ""
        self._agreements: list[str] = []
        self._started = datetime.now(timezone.utc).isoformat()

    @classmethod
    @asynccontextmanager
    async def on(cls, devnet: Devnet) -> AsyncIterator[Requestor]:
        """Connects to a devnet's daemon; at the end, terminates its agreements and releases the allocation."""
        headers = {"Authorization": f"Bearer {devnet.requestor.app_key}"}
        async with aiohttp.ClientSession(devnet.requestor.api_url, headers=headers) as session:
            requestor = cls(session, devnet)
            request = {"paymentPlatform": PLATFORM, "totalAmount": "1", "makeDeposit": False}
            requestor.allocation = (await requestor.call("POST", f"{PAYMENT}/allocations", request))["allocationId"]
            try:
                yield requestor
            finally:
                for agreement in requestor._agreements:
                    with suppress(Refused):  # it has already ended
                        await requestor.terminate(agreement)
                await requestor.call("DELETE", f"{PAYMENT}/allocations/{requestor.allocation}")

    async def call(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """Sends a request, and returns the JSON of the answer; an empty list after a time-out. Raises Refused."""
        async with self._session.request(method, path, json=body, params=query) as response:
            if response.status == 408:
                return []
            if response.status >= 400:
                raise Refused(f"{response.status}: {await response.text()}")
            return await response.json(content_type=None)

    # ---- market

    async def demand(self, expires_in: float = 3600, **changes: Any) -> str:
        """Publishes a demand as yapapi would for a short job; `changes` replace its properties, and None drops one."""
        decoration = await self.call("GET", f"{PAYMENT}/demandDecorations", allocationIds=self.allocation)
        properties = {item["key"]: item["value"] for item in decoration["properties"]}
        properties |= {
            "golem.node.debug.subnet": self._devnet.subnet,
            "golem.srv.caps.multi-activity": True,
            EXPIRATION: int((time.time() + expires_in) * 1000),
            ACCEPT_TIMEOUT: 240,
            CHOSEN_PLATFORM: PLATFORM,
        }
        self.properties = {key: value for key, value in {**properties, **changes}.items() if value is not None}
        constraints = "(&" + "".join(decoration["constraints"]) + "(golem.runtime.name=vm))"
        self._demand = {"properties": self.properties, "constraints": constraints}
        return str(await self.call("POST", f"{MARKET}/demands", self._demand))

    async def event(self, demand: str, timeout: float = 20) -> dict[str, Any]:
        """Returns the next event of a demand."""
        events = await self.call("GET", f"{MARKET}/demands/{demand}/events", timeout=timeout, maxEvents=1)
        assert events, "nothing came"
        return events[0]

    async def counter(self, demand: str, proposal: dict[str, Any]) -> str:
        """Answers a proposal with the demand."""
        path = f"{MARKET}/demands/{demand}/proposals/{proposal['proposalId']}"
        return str(await self.call("POST", path, self._demand))

    async def draft(self, demand: str) -> dict[str, Any]:
        """Answers the first offer, and returns the event that follows: a proposal of the provider, or a rejection."""
        offer = (await self.event(demand))["proposal"]
        assert offer["state"] == "Initial"
        await self.counter(demand, offer)
        return await self.event(demand)

    async def propose(self, proposal: dict[str, Any]) -> tuple[str, str]:
        """Makes an agreement of a draft; returns its id and the provider's answer."""
        until = (datetime.now(timezone.utc) + timedelta(seconds=60)).isoformat()
        agreement_request = {"proposalId": proposal["proposalId"], "validTo": until}
        agreement = str(await self.call("POST", f"{MARKET}/agreements", agreement_request))
        self._agreements.append(agreement)
        await self.call("POST", f"{MARKET}/agreements/{agreement}/confirm")
        try:
            answer = await self.call("POST", f"{MARKET}/agreements/{agreement}/wait", timeout=15)
            return agreement, "Approved" if answer is None else str(answer)
        except Refused as refused:
            return agreement, str(refused)

    async def agree(self, expires_in: float = 3600, **changes: Any) -> str:
        """Negotiates a demand to an approved agreement, and returns its id."""
        event = await self.draft(await self.demand(expires_in, **changes))
        assert event["eventType"] == "ProposalEvent", event
        agreement, answer = await self.propose(event["proposal"])
        assert answer == "Approved", answer
        return agreement

    async def terminate(self, agreement: str) -> None:
        """Terminates an agreement."""
        await self.call("POST", f"{MARKET}/agreements/{agreement}/terminate", {"message": "done"})

    async def termination(self, agreement: str, timeout: float = 20) -> dict[str, Any]:
        """Returns the reason with which the provider has ended the agreement."""
        deadline = time.monotonic() + timeout
        after = self._started
        while time.monotonic() < deadline:
            for event in await self.call("GET", f"{MARKET}/agreementEvents", timeout=2, afterTimestamp=after):
                after = max(after, event["eventDate"])
                if event["agreementId"] == agreement and event["eventType"] == "AgreementTerminatedEvent":
                    assert event["terminator"] == "Provider"
                    return dict(event["reason"])
        raise TimeoutError("the provider did not end the agreement")

    # ---- activity

    async def create_activity(self, agreement: str) -> str:
        """Creates an activity, and returns its id."""
        return str(await self.call("POST", f"{ACTIVITY}/activity", agreement, timeout=10))

    async def destroy_activity(self, activity: str) -> None:
        """Destroys an activity."""
        await self.call("DELETE", f"{ACTIVITY}/activity/{activity}", timeout=10)

    async def run(self, activity: str, script: str) -> list[dict[str, Any]]:
        """Executes a JSON exe-script to its end, and returns the results."""
        path = f"{ACTIVITY}/activity/{activity}/exec"
        batch = await self.call("POST", path, {"text": script})
        results: list[dict[str, Any]] = []
        while not results or not results[-1]["isBatchFinished"]:
            results = await self.call("GET", f"{path}/{batch}", timeout=1)
        return results

    # ---- payment

    async def debit_notes(self, agreement: str) -> list[dict[str, Any]]:
        """Returns the debit notes of an agreement that have arrived, oldest first."""
        found = await self.call("GET", f"{PAYMENT}/debitNotes")
        mine = [note for note in found if note["agreementId"] == agreement]
        return sorted(mine, key=lambda note: note["timestamp"])

    async def accept_debit_note(self, note: dict[str, Any]) -> None:
        """Accepts a debit note in full."""
        body = {"totalAmountAccepted": note["totalAmountDue"], "allocationId": self.allocation}
        await self.call("POST", f"{PAYMENT}/debitNotes/{note['debitNoteId']}/accept", body)

    async def invoice(self, agreement: str, timeout: float = 20) -> dict[str, Any]:
        """Waits for the invoice of an agreement, and returns it."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            for invoice in await self.call("GET", f"{PAYMENT}/invoices"):
                if invoice["agreementId"] == agreement:
                    return dict(invoice)
            await asyncio.sleep(0.1)
        raise TimeoutError("no invoice came")

    async def accept_invoice(self, invoice: dict[str, Any]) -> Decimal:
        """Accepts an invoice in full, and returns its amount in GLM."""
        body = {"totalAmountAccepted": invoice["amount"], "allocationId": self.allocation}
        await self.call("POST", f"{PAYMENT}/invoices/{invoice['invoiceId']}/accept", body)
        return Decimal(invoice["amount"])
