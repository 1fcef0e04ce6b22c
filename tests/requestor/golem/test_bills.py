"""Bills that a provider or the daemon makes trouble with: each stays alone with it."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

from requestor.errors import DaemonRefused
from requestor.golem.orphans import collect_bills
from requestor.golem.wallet import Wallet
from requestor.money.accounts import Accounts
from requestor.money.amounts import Price
from requestor.records.ledger import Ledger

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
