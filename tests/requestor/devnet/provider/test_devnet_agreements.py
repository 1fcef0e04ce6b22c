"""Agreements with a provider of short deadlines, through real daemons: which side ends them, when, and at what cost."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from golem_requestor import PAYMENT, Refused, Requestor

from requestor.devnet.network import NetworkOptions
from requestor.devnet.provider.pricing import LinearPricing
from requestor.devnet.provider.rest import ProviderRest
from requestor.devnet.settlement import settle_bills
from requestor.devnet.state import DEVNET_NETWORK, Devnet
from requestor.devnet.supervision import start_devnet, stop_devnet
from requestor.golem.networks import GolemConnection
from requestor.golem.property_names import ACCEPT_TIMEOUT, CHOSEN_PLATFORM, DEBIT_NOTE_INTERVAL, PAYMENT_TIMEOUT, PRICES
from requestor.golem.wallet import Wallet

pytestmark = pytest.mark.golem

PRICE = (2e-3, 1e-3, 0.05)  # a start price that is large enough to see
IDLE, ACCEPT, INTERVAL = 3.0, 6, 2
START = '[{"deploy": {}}, {"start": {}}]'


@pytest.fixture(scope="module")
def strict(devnets_home: Path) -> Iterator[Devnet]:
    """Runs a devnet of one provider that ends an agreement after 3 s without an activity or 6 s without an accepted
    note.
    """
    terms = {"min_expiration": 5, "accept_timeout": ACCEPT, "debit_note_interval": INTERVAL}
    options = NetworkOptions("strict", providers=1, agent={"coefficients": PRICE, "idle_seconds": IDLE, "terms": terms})
    devnet = start_devnet(options)
    yield devnet
    stop_devnet(devnet)


def state(devnet: Devnet) -> str:
    """Returns the state that the provider's agent reports."""
    report = Path(devnet.folder) / "agents" / devnet.providers[0].name / "agent.json"
    return str(json.loads(report.read_text())["state"])


def on(devnet: Devnet, use: Callable[[Requestor], Awaitable[None]]) -> None:
    """Hands a requestor to `use`; before and after it, waits until the provider is free."""

    async def free() -> None:
        while state(devnet) != "idle":
            await asyncio.sleep(0.05)

    async def session() -> None:
        await asyncio.wait_for(free(), 20)
        async with Requestor.on(devnet) as requestor:
            await asyncio.wait_for(use(requestor), 90)
        await asyncio.wait_for(free(), 20)

    asyncio.run(session())


def test_an_agreement_is_billed_by_activity_and_paid_by_invoice(strict: Devnet):
    async def use(requestor: Requestor) -> None:
        agreement = await requestor.agree(**{ACCEPT_TIMEOUT: ACCEPT})
        agreed = (await requestor.call("GET", f"/market-api/v1/agreements/{agreement}"))["offer"]["properties"]
        assert agreed["golem.com.usage.vector"] == ["golem.usage.cpu_sec", "golem.usage.duration_sec"]
        assert agreed[PRICES] == list(PRICE)
        for _ in range(2):
            activity = await requestor.create_activity(agreement)
            assert [result["result"] for result in await requestor.run(activity, START)] == ["Ok", "Ok"]
            await requestor.destroy_activity(activity)
        await requestor.terminate(agreement)
        invoice = await requestor.invoice(agreement)
        last_notes = {note["activityId"]: note for note in await requestor.debit_notes(agreement)}
        assert set(invoice["activityIds"]) == set(last_notes)
        assert Decimal(invoice["amount"]) == sum(Decimal(note["totalAmountDue"]) for note in last_notes.values())
        assert Decimal(invoice["amount"]) > 2 * Decimal("0.05"), "the start price is due for each activity"
        for note in last_notes.values():
            assert Decimal(note["totalAmountDue"]) == LinearPricing(PRICE).cost(note["usageCounterVector"])

    on(strict, use)


def test_debit_notes_lie_on_the_grid_of_the_agreement_and_only_grow(strict: Devnet):
    async def use(requestor: Requestor) -> None:
        agreement = await requestor.agree(**{ACCEPT_TIMEOUT: ACCEPT})
        approved = time.time()
        activity = await requestor.create_activity(agreement)
        while len(await requestor.debit_notes(agreement)) < 4:
            for note in await requestor.debit_notes(agreement):
                if note["status"] == "RECEIVED":
                    await requestor.accept_debit_note(note)
            await asyncio.sleep(0.2)
        assert state(strict) == "computing"
        assert time.time() - approved >= 3 * INTERVAL
        assert time.time() - approved > ACCEPT, "accepted notes keep the agreement"
        await requestor.destroy_activity(activity)
        await requestor.terminate(agreement)
        amounts = [Decimal(note["totalAmountDue"]) for note in await requestor.debit_notes(agreement)]
        assert amounts == sorted(set(amounts))

    on(strict, use)


@pytest.mark.parametrize("with_activity", [False, True])
def test_an_idle_agreement_is_ended(strict: Devnet, with_activity: bool):
    async def use(requestor: Requestor) -> None:
        agreement = await requestor.agree(**{ACCEPT_TIMEOUT: ACCEPT})
        if with_activity:
            await requestor.destroy_activity(await requestor.create_activity(agreement))
        assert (await requestor.termination(agreement))["golem.provider.code"] == "NoActivity"
        invoice = await requestor.invoice(agreement)
        assert (Decimal(invoice["amount"]) >= Decimal("0.05")) is with_activity

    on(strict, use)


def test_debit_notes_that_nobody_accepts_end_the_agreement(strict: Devnet):
    async def use(requestor: Requestor) -> None:
        agreement = await requestor.agree(**{ACCEPT_TIMEOUT: ACCEPT})
        activity = await requestor.create_activity(agreement)
        assert (await requestor.termination(agreement))["golem.provider.code"] == "DebitNotesDeadline"
        # It ends a moment after its agreement.
        while (await requestor.call("GET", f"/activity-api/v1/activity/{activity}/state"))["state"][0] != "Terminated":
            await asyncio.sleep(0.1)
        await requestor.invoice(agreement)

    on(strict, use)


@pytest.mark.usefixtures("chain_programs")
def test_an_invoice_can_be_rejected_and_a_debit_note_cannot(strict: Devnet):
    """Yagna lets a requestor reject invoices only; docs/threat-model.md says so."""
    (node,) = strict.providers

    async def paid() -> Decimal:
        (account,) = await settle_bills(strict, 30)
        assert account.wallet is not None
        return account.wallet

    async def use(requestor: Requestor) -> None:
        before = await paid()
        agreement = await requestor.agree(**{ACCEPT_TIMEOUT: ACCEPT})
        activity = await requestor.create_activity(agreement)
        while not (notes := await requestor.debit_notes(agreement)):
            await asyncio.sleep(0.1)
        rejection = {"rejectionReason": "BAD_SERVICE", "totalAmountAccepted": "0", "message": "junk"}
        with pytest.raises(Refused, match="501"):
            await requestor.call("POST", f"{PAYMENT}/debitNotes/{notes[0]['debitNoteId']}/reject", rejection)
        await requestor.accept_debit_note(notes[0])
        await requestor.destroy_activity(activity)
        await requestor.terminate(agreement)
        invoice = await requestor.invoice(agreement)
        accepted = Decimal(notes[0]["totalAmountDue"])
        assert Decimal(invoice["amount"]) > accepted > 0
        here = strict.requestor
        async with Wallet(GolemConnection(here.api_url, here.app_key, DEVNET_NETWORK)) as wallet:
            await wallet.reject(invoice["invoiceId"], "BAD_SERVICE", "junk")
        async with ProviderRest(node.api_url, node.app_key) as rest:
            (theirs,) = (one for one in await rest.invoices() if one["invoiceId"] == invoice["invoiceId"])
        assert theirs["status"] == "REJECTED"
        while (now := await paid()) == before:
            await asyncio.sleep(0.5)
        assert now - before == accepted, "the note is paid whatever becomes of the invoice"

    on(strict, use)


def test_payable_debit_notes_that_nobody_pays_end_the_agreement(strict: Devnet):
    async def use(requestor: Requestor) -> None:
        agreement = await requestor.agree(**{ACCEPT_TIMEOUT: ACCEPT, DEBIT_NOTE_INTERVAL: 1, PAYMENT_TIMEOUT: 4})
        await requestor.create_activity(agreement)

        async def accept_all() -> None:
            while True:
                for note in await requestor.debit_notes(agreement):
                    if note["status"] == "RECEIVED":
                        await requestor.accept_debit_note(note)
                await asyncio.sleep(0.2)

        accepting = asyncio.ensure_future(accept_all())
        try:
            assert (await requestor.termination(agreement))["golem.provider.code"] == "DebitNoteNotPaid"
        finally:
            accepting.cancel()
        await requestor.invoice(agreement)
        notes = await requestor.debit_notes(agreement)
        first, *others, final = [note.get("paymentDueDate") for note in notes]
        assert first is None, "no time-out has passed yet"
        assert any(others), "one has"
        assert final is not None, "the final note is payable"

    on(strict, use)


async def run_until_refused(requestor: Requestor, activity: str) -> None:
    """Runs programs until the activity refuses: it ends a moment after its agreement."""
    for _ in range(100):
        await requestor.run(activity, START)
        await asyncio.sleep(0.1)


def test_an_agreement_ends_when_it_expires_even_amid_a_task(strict: Devnet):
    async def use(requestor: Requestor) -> None:
        agreement = await requestor.agree(expires_in=8, **{ACCEPT_TIMEOUT: None})
        activity = await requestor.create_activity(agreement)
        assert (await requestor.termination(agreement))["golem.provider.code"] == "Expired"
        with pytest.raises(Refused):
            await run_until_refused(requestor, activity)
        await requestor.invoice(agreement)

    on(strict, use)


def test_without_multi_activity_the_provider_ends_the_agreement_after_the_first(strict: Devnet):
    async def use(requestor: Requestor) -> None:
        agreement = await requestor.agree(**{ACCEPT_TIMEOUT: ACCEPT, "golem.srv.caps.multi-activity": None})
        await requestor.destroy_activity(await requestor.create_activity(agreement))
        assert (await requestor.termination(agreement))["golem.provider.code"] == "Success"

    on(strict, use)


def test_one_agreement_and_one_activity_at_a_time(strict: Devnet):
    async def use(requestor: Requestor) -> None:
        waiting = await requestor.demand(**{ACCEPT_TIMEOUT: ACCEPT})
        offer = (await requestor.event(waiting))["proposal"]
        await requestor.counter(waiting, offer)
        draft = (await requestor.event(waiting))["proposal"]

        agreement = await requestor.agree(**{ACCEPT_TIMEOUT: ACCEPT})
        activity = await requestor.create_activity(agreement)
        with pytest.raises(Refused, match="Only single Activity allowed"):
            await requestor.create_activity(agreement)

        _, answer = await requestor.propose(draft)
        assert "Rejected" in answer
        late = await requestor.demand(**{ACCEPT_TIMEOUT: ACCEPT})
        rejected = await requestor.draft(late)
        assert rejected["eventType"] == "ProposalRejectedEvent"
        assert rejected["reason"]["message"] == "No capacity available. Reached Agreements limit: 1"
        assert rejected["reason"]["golem.proposal.rejection.is-final"] is False

        await requestor.destroy_activity(activity)
        await requestor.terminate(agreement)
        again = await requestor.event(late)
        assert again["eventType"] == "ProposalEvent", "when the slot is free, the provider comes back by itself"

    on(strict, use)


@pytest.mark.parametrize(
    ("expires_in", "changes", "message", "final"),
    [
        (6, {CHOSEN_PLATFORM: None}, "Missing fields: /golem/com/payment/chosen-platform", False),
        (3000, {ACCEPT_TIMEOUT: 7}, "DebitNote acceptance deadline should be less than 6s.", True),
        (11 * 3600, {ACCEPT_TIMEOUT: ACCEPT}, "Expiration time", True),
        (3000, {ACCEPT_TIMEOUT: ACCEPT, PRICES: [0.0, 0.0, 0.0]}, "[0.0, 0.0, 0.0] < [0.002, 0.001, 0.05]", True),
    ],
)
def test_rejections_reach_the_requestor(
    strict: Devnet, expires_in: float, changes: dict[str, Any], message: str, final: bool
):
    async def use(requestor: Requestor) -> None:
        rejected = await requestor.draft(await requestor.demand(expires_in, **changes))
        assert rejected["eventType"] == "ProposalRejectedEvent"
        assert rejected["reason"]["message"].startswith(message)
        assert rejected["reason"]["golem.proposal.rejection.is-final"] is final

    on(strict, use)


def test_the_counter_drops_what_the_demand_leaves_out(strict: Devnet):
    async def use(requestor: Requestor) -> None:
        demand = await requestor.demand(**{ACCEPT_TIMEOUT: ACCEPT})
        offer = (await requestor.event(demand))["proposal"]
        assert {ACCEPT_TIMEOUT, DEBIT_NOTE_INTERVAL, PAYMENT_TIMEOUT} <= set(offer["properties"])
        with pytest.raises(Refused):
            await requestor.propose(offer)  # an offer is not a draft yet
        await requestor.counter(demand, offer)
        draft = (await requestor.event(demand))["proposal"]
        assert draft["state"] == "Draft"
        dropped = set(offer["properties"]) - set(draft["properties"])
        assert dropped == {DEBIT_NOTE_INTERVAL, PAYMENT_TIMEOUT}
        assert draft["properties"][ACCEPT_TIMEOUT] == ACCEPT

    on(strict, use)
