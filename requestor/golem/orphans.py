"""Agreements that are still open: those of a killed process are ended, and what was done under them is paid for."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

from requestor.errors import GolemError
from requestor.golem.wallet import Wallet
from requestor.money import Accounts, Price

PATIENCE = 15.0  # seconds for the invoices; who takes longer is asked again when the run is resumed next

logger = logging.getLogger(__name__)


async def settle_orphans(wallet: Wallet, accounts: Accounts, allocation: str, longest: float) -> None:
    """End every agreement of the ledger that is still open, and accept the invoice that follows, if anything was run.

    `longest`: seconds after which agreements end by themselves. Raises what `Wallet` raises.
    """
    orphans = accounts.ledger.open_agreements()
    for entry in orphans:
        agreement = entry["agreement"]
        await wallet.terminate(agreement, "The requestor was killed; its run is resumed.")
        if not accounts.ledger.has_activity(agreement):
            accounts.ledger.record("agreement_ended", agreement=agreement)
            continue
        age = (datetime.now(timezone.utc) - datetime.fromisoformat(entry["time"])).total_seconds()
        accounts.adopt(agreement, Price.from_text(entry["price"]), entry["threads"], min(age, longest))
    await collect_bills(wallet, accounts, allocation, PATIENCE)
    for entry in accounts.ledger.open_agreements():
        if not accounts.ledger.has_begun(entry["agreement"]):  # killed while it was created: there was nothing to bill
            accounts.ledger.record("agreement_ended", agreement=entry["agreement"])


async def collect_bills(wallet: Wallet, accounts: Accounts, allocation: str, patience: float) -> None:
    """Accept, if they are in order, the invoices of all agreements that are open, once or for so many seconds.

    Raises what `Wallet` raises.
    """
    waiting = {entry["agreement"] for entry in accounts.ledger.open_agreements()}
    deadline = time.monotonic() + patience
    while waiting:
        for agreement in list(waiting):
            for invoice in await wallet.invoices(agreement):
                await _settle(wallet, accounts, allocation, agreement, invoice)
                waiting.remove(agreement)
                break
        if time.monotonic() >= deadline:
            break
        await asyncio.sleep(0.5)
    for agreement in waiting:
        logger.warning("no invoice yet for agreement %s", agreement)


async def _settle(wallet: Wallet, accounts: Accounts, allocation: str, agreement: str, invoice: dict[str, Any]) -> None:
    amount = Decimal(invoice["amount"])
    if invoice["status"] in ("ACCEPTED", "SETTLED"):  # killed after accepting, before writing it down
        accounts.invoice(agreement, amount)
    elif invoice["status"] == "REJECTED":  # killed after rejecting, before writing it down
        accounts.reject_invoice(agreement, amount, "it was rejected")
    elif accounts.approve(agreement, amount):
        if amount > 0:
            await wallet.accept(invoice["invoiceId"], amount, allocation)
        accounts.invoice(agreement, amount)
    else:
        await reject_invoice(wallet, accounts, agreement, invoice["invoiceId"], amount)


async def reject_invoice(wallet: Wallet, accounts: Accounts, agreement: str, invoice_id: str, amount: Decimal) -> None:
    """Refuse a bill that is not to be paid, as `Accounts.approve` found: yagna tells its sender.

    Yagna can refuse invoices as a whole, and debit notes not at all; those are only left alone.
    """
    worthless = accounts.ledger.worthless(agreement)
    reason = "it is beyond what time and price allow" if worthless is None else f"nothing was of use: {worthless}"
    logger.warning("the invoice of %s GLM for agreement %s is rejected: %s", amount, agreement, reason)
    try:
        await wallet.reject(invoice_id, "INCORRECT_AMOUNT" if worthless is None else "BAD_SERVICE", reason)
    except GolemError as error:  # it is not paid all the same
        logger.warning("the daemon did not take the rejection: %s", error)
    accounts.reject_invoice(agreement, amount, reason)
