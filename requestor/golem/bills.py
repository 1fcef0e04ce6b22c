"""Settles bills, also of agreements that a killed process left open; finds out which of them the daemon has paid."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from decimal import Decimal, InvalidOperation
from typing import Any

from requestor.errors import GolemError
from requestor.golem.wallet import Wallet
from requestor.money import Accounts, Price
from requestor.records import Ledger

PATIENCE = 15.0  # seconds to wait for the invoices; later ones are taken when the run is resumed next

LEAST_PAYMENT_VARIABLE = "MIN_PAYMENT_AMOUNT_GLM"
"""A variable of yagna's from March 2026 on: it never sends what it owes to one provider if that is not more
(core/payment/src/batch.rs). Its REST interface does not tell which bills these are: they stay accepted."""

logger = logging.getLogger(__name__)


async def settle_orphans(wallet: Wallet, accounts: Accounts, allocation: str, longest: float) -> None:
    """Ends every agreement of the ledger that is still open, and accepts its invoice if an activity was begun.

    `longest`: seconds after which agreements end by themselves. Raises the errors of `Wallet`, but not those about a
    single bill.
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
        if not accounts.ledger.has_begun(entry["agreement"]):  # killed before anything was billed
            accounts.ledger.record("agreement_ended", agreement=entry["agreement"])


async def collect_bills(wallet: Wallet, accounts: Accounts, allocation: str, patience: float) -> None:
    """Settles the invoices of all open agreements; waits up to `patience` seconds for them, with 0 not at all.

    A bill that cannot be settled stays open, and does not hold up the others. Raises the errors of `Wallet` about the
    list of invoices.
    """
    waiting = {entry["agreement"] for entry in accounts.ledger.open_agreements()}
    cancelled: dict[str, Decimal] = {}
    deadline = time.monotonic() + patience
    while waiting:
        for invoice in await wallet.invoices():
            agreement = str(invoice["agreementId"])
            if agreement not in waiting:
                continue
            if invoice["status"] == "CANCELLED":  # by the provider, which may send another one
                cancelled[agreement] = Decimal(invoice["amount"])
            elif await _settle(wallet, accounts, allocation, agreement, invoice):
                waiting.remove(agreement)
        if time.monotonic() >= deadline:
            break
        await asyncio.sleep(0.5)
    for agreement in waiting & cancelled.keys():
        accounts.ledger.record("invoice_cancelled", agreement=agreement, amount=cancelled[agreement])
    for agreement in waiting - cancelled.keys():
        logger.warning("no invoice yet for agreement %s, or none that could be settled", agreement)


async def _settle(wallet: Wallet, accounts: Accounts, allocation: str, agreement: str, invoice: dict[str, Any]) -> bool:
    """Accepts or rejects an invoice. Returns False if it stays open, because the daemon did not take the answer."""
    amount, status = Decimal(invoice["amount"]), invoice["status"]
    if status in ("ACCEPTED", "SETTLED"):  # killed before it wrote that it accepted
        accounts.invoice(agreement, amount)
    elif status == "REJECTED":  # killed before it wrote that it rejected
        accounts.reject_invoice(agreement, amount, "it was rejected")
    elif status not in ("RECEIVED", "FAILED"):
        logger.warning("the invoice for agreement %s has the unknown state %s, and is left open", agreement, status)
        return False
    elif accounts.approve(agreement, amount):
        try:
            if amount > 0:
                await wallet.accept(invoice["invoiceId"], amount, allocation)
        except GolemError as error:
            accounts.revoke(agreement)
            logger.warning("the invoice of %s GLM for agreement %s stays open: %s", amount, agreement, error)
            return False
        accounts.invoice(agreement, amount)
    else:
        await reject_invoice(wallet, accounts, agreement, invoice["invoiceId"], amount)
    return True


async def reject_invoice(wallet: Wallet, accounts: Accounts, agreement: str, invoice_id: str, amount: Decimal) -> None:
    """Rejects an invoice that `Accounts.approve` refused; yagna tells its sender.

    Yagna can only reject whole invoices. It cannot reject debit notes, so these stay unanswered.
    """
    worthless = accounts.ledger.worthless(agreement)
    reason = "it is beyond what time and price allow" if worthless is None else f"nothing was of use: {worthless}"
    logger.warning("the invoice of %s GLM for agreement %s is rejected: %s", amount, agreement, reason)
    try:
        await wallet.reject(invoice_id, "INCORRECT_AMOUNT" if worthless is None else "BAD_SERVICE", reason)
    except GolemError as error:  # the invoice is not paid in this case either
        logger.warning("the daemon did not take the rejection: %s", error)
    accounts.reject_invoice(agreement, amount, reason)


async def note_payments(wallet: Wallet, ledger: Ledger, environment: Mapping[str, str] = os.environ) -> None:
    """Writes into the ledger which of its accepted invoices are paid, and which are too small to be sent.

    Args:
        wallet: the daemon.
        ledger: the ledger of a run.
        environment: names the least amount that the daemon sends, if it is the daemon's environment, too.

    Raises the errors of `Wallet`.
    """
    unpaid = ledger.unpaid_invoices()
    if not unpaid:
        return
    states = {str(invoice["agreementId"]): str(invoice["status"]) for invoice in await wallet.invoices()}
    for agreement, (_, amount) in unpaid.items():
        if states.get(agreement) == "SETTLED":
            ledger.record("paid", agreement=agreement, amount=amount)
    waiting = {agreement: bill for agreement, bill in unpaid.items() if states.get(agreement) == "ACCEPTED"}
    owed: dict[str, Decimal] = {}
    for provider, amount in waiting.values():
        owed[provider] = owed.get(provider, Decimal(0)) + amount
    least = least_payment(environment)
    known = ledger.too_small()
    for agreement, (provider, amount) in waiting.items():
        if agreement not in known and 0 < owed[provider] <= least:
            ledger.record("too_small", agreement=agreement, amount=amount)


def least_payment(environment: Mapping[str, str]) -> Decimal:
    """Returns the GLM up to which the daemon pays nothing, as far as the environment tells; 0 if it pays everything."""
    try:
        amount = Decimal(environment.get(LEAST_PAYMENT_VARIABLE, "0"))
    except InvalidOperation:
        return Decimal(0)  # yagna ignores such a value, too
    return amount if amount.is_finite() else Decimal(0)
