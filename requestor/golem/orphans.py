"""Agreements that a killed run left behind: ended, and paid for what they did, before the run goes on."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

from requestor.accounts import Accounts
from requestor.budget import Price
from requestor.golem.wallet import Wallet

PATIENCE = 15.0  # seconds for the invoices; who takes longer is asked again when the run is resumed next

logger = logging.getLogger(__name__)


async def settle_orphans(wallet: Wallet, accounts: Accounts, allocation: str) -> None:
    """End every agreement of the ledger that is still open, and accept the invoice that follows, if anything was run.

    Raises what `Wallet` raises.
    """
    orphans = {entry["agreement"]: entry for entry in accounts.ledger.open_agreements()}
    for agreement, entry in orphans.items():
        await wallet.terminate(agreement, "The requestor was killed; its run is resumed.")
        if not accounts.ledger.has_activity(agreement):
            accounts.ledger.record("agreement_ended", agreement=agreement)
            continue
        age = (datetime.now(timezone.utc) - datetime.fromisoformat(entry["time"])).total_seconds()
        accounts.adopt(agreement, Price.from_text(entry["price"]), entry["threads"], age)
    orphans = {agreement: entry for agreement, entry in orphans.items() if accounts.ledger.has_activity(agreement)}
    deadline = time.monotonic() + PATIENCE
    while orphans and time.monotonic() < deadline:
        for agreement in list(orphans):
            for invoice in await wallet.invoices(agreement):
                await _settle(wallet, accounts, allocation, agreement, invoice)
                del orphans[agreement]
                break
        if orphans:
            await asyncio.sleep(0.5)
    for agreement in orphans:
        logger.warning("no invoice yet for agreement %s, which a killed run left behind", agreement)


async def _settle(wallet: Wallet, accounts: Accounts, allocation: str, agreement: str, invoice: dict[str, Any]) -> None:
    amount = Decimal(invoice["amount"])
    if invoice["status"] in ("ACCEPTED", "SETTLED"):  # killed after accepting, before writing it down
        accounts.invoice(agreement, amount)
    elif accounts.accepted_amount(agreement, amount) >= amount:
        await wallet.accept(invoice["invoiceId"], amount, allocation)
        accounts.invoice(agreement, amount)
    else:
        logger.warning("the invoice of %s GLM for agreement %s is beyond its price: not accepted", amount, agreement)
