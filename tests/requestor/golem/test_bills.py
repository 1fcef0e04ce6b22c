"""Bills that a provider or the daemon makes trouble with: each stays alone with it."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pytest

from requestor.errors import DaemonRefused
from requestor.golem.bills import LEAST_PAYMENT_VARIABLE, collect_bills, least_payment, note_payments
from requestor.golem.wallet import Wallet
from requestor.money.accounts import Accounts
from requestor.money.amounts import Price
from requestor.records.ledger import Ledger, Receipt, describe_payments

STATES = ("RECEIVED", "CANCELLED", "STRANGE", "refused", "ACCEPTED", "FAILED")


class Bills:
    """Takes the place of the wallet: one bill in each state; the daemon does not accept the one named `refused`."""

    def __init__(self) -> None:
        self.accepted: list[str] = []

    async def invoices(self) -> list[dict[str, Any]]:
        return [
            {
                "invoiceId": state,
                "agreementId": state,
                "amount": "0.01",
                "status": "RECEIVED" if state == "refused" else state,
            }
            for state in STATES
        ]

    async def accept(self, invoice: str, amount: Decimal, allocation: str) -> None:
        if invoice == "refused":
            raise DaemonRefused("The daemon answered 400: Invoice cancelled.", 400)
        self.accepted.append(invoice)


def test_one_bills_trouble_stays_its_own(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    accounts = Accounts(Decimal(1), ledger, lambda: 100.0)
    for state in STATES:
        fields = {"provider": f"0x{state}", "name": state, "price": "0 0.01 0", "threads": 1}
        ledger.record("agreement", agreement=state, **fields)  # type: ignore[arg-type]
        accounts.adopt(state, Price(Decimal(0), Decimal("0.01"), Decimal(0)), 1, age=10.0)
        ledger.record("activity_created", agreement=state, activity=state)
    bills = Bills()
    asyncio.run(collect_bills(cast(Wallet, bills), accounts, "allocation", patience=0))
    assert bills.accepted == ["RECEIVED", "FAILED"]
    assert ledger.costs() == {state: Decimal("0.01") for state in ("RECEIVED", "ACCEPTED", "FAILED")}
    assert [entry["agreement"] for entry in ledger.open_agreements()] == ["STRANGE", "refused"]
    assert {receipt.name: receipt.open_bills for receipt in ledger.receipts()} == {
        state: int(state in ("STRANGE", "refused")) for state in STATES
    }


class Payments:
    """Takes the place of the wallet: tells the states of the invoices, by agreement."""

    def __init__(self, **states: str) -> None:
        self.states = states

    async def invoices(self) -> list[dict[str, Any]]:
        return [{"agreementId": agreement, "status": state} for agreement, state in self.states.items()]


def test_accepted_paid_open_and_too_small_bills_are_told_apart(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    hired = {"large": "bold", "small": "calm", "half": "deft", "other half": "deft", "open": "easy"}
    for agreement, provider in hired.items():
        ledger.record("agreement", agreement=agreement, provider=provider, name=provider, price="0 1 0", threads=1)
        ledger.record("activity_created", agreement=agreement, activity=agreement)
    for agreement, amount in (("large", "0.5"), ("small", "0.01"), ("half", "0.009"), ("other half", "0.009")):
        ledger.record("invoice", agreement=agreement, amount=Decimal(amount))
    states = {"large": "ACCEPTED", "small": "ACCEPTED", "half": "ACCEPTED", "other half": "ACCEPTED"}

    def ask() -> dict[str, tuple[Decimal, Decimal, int]]:
        environment = {LEAST_PAYMENT_VARIABLE: "0.01"}
        asyncio.run(note_payments(cast(Wallet, Payments(**states)), ledger, environment))
        return {r.name: (r.settled_glm, r.too_small_glm, r.open_bills) for r in ledger.receipts()}

    nothing = Decimal(0)
    # what is owed to one provider is sent together, so that its two halves are enough
    expected = {
        "bold": (nothing, nothing, 0), "calm": (nothing, Decimal("0.01"), 0),
        "deft": (nothing, nothing, 0), "easy": (nothing, nothing, 1),
    }  # fmt: skip
    assert ask() == expected
    states["large"] = "SETTLED"
    assert ask() == expected | {"bold": (Decimal("0.5"), nothing, 0)}
    assert describe_payments(ledger.receipts()) == (
        "Accepted 0.528000 GLM: 0.500000 GLM of it are paid by now, 0.010000 GLM are too small to be sent (the "
        "daemon's MIN_PAYMENT_AMOUNT_GLM), 0.018000 GLM wait for the daemon's next payment."
    )
    states["small"] = "SETTLED"  # it was sent together with a later bill
    assert ask()["calm"] == (Decimal("0.01"), nothing, 0)
    assert [Receipt.from_json(receipt.to_json()) for receipt in ledger.receipts()] == ledger.receipts()


@pytest.mark.parametrize(("value", "least"), [(None, "0"), ("0.02", "0.02"), ("much", "0"), ("NaN", "0")])
def test_the_least_payment_is_read_as_yagna_reads_it(value: str | None, least: str) -> None:
    assert least_payment({} if value is None else {LEAST_PAYMENT_VARIABLE: value}) == Decimal(least)
