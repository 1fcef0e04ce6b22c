"""Decides which providers are hired, and which bills are accepted."""

from __future__ import annotations

from decimal import Decimal

from yapapi.rest.market import OfferProposal
from yapapi.rest.payment import DebitNote, Invoice
from yapapi.strategy import SCORE_REJECTED, SCORE_TRUSTED, MarketStrategy

from requestor.golem import OfferFilter, Wallet, read_offer, reject_invoice
from requestor.money import Accounts


class ProviderChoice(MarketStrategy):
    """Decides which providers are hired, and which bills are accepted.

    The cheapest providers are hired first. None is hired that the filter refuses, or that costs more than the rest of
    the budget. No bill is accepted that is higher than time and price allow, or that is for worthless results only.
    yapapi leaves a bill open unless it is accepted in full.

    Args:
        offers: the filter of offers.
        accounts: the run's accounts.
        wallet: the requestor's daemon.
    """

    def __init__(self, offers: OfferFilter, accounts: Accounts, wallet: Wallet) -> None:
        self._offers = offers
        self._accounts = accounts
        self._wallet = wallet

    async def score_offer(self, offer: OfferProposal) -> float:
        read = read_offer(offer.issuer, offer.props)
        if read is None or self._offers.refusal(read) is not None:
            return float(SCORE_REJECTED)
        if not self._accounts.room_for(read.price, read.threads):
            return float(SCORE_REJECTED)
        return float(SCORE_TRUSTED) / float(1 + read.first_hour)

    async def invoice_accepted_amount(self, invoice: Invoice) -> Decimal:
        agreement, amount = str(invoice.agreement_id), Decimal(invoice.amount)
        if self._accounts.approve(agreement, amount):
            return amount
        await reject_invoice(self._wallet, self._accounts, agreement, str(invoice.invoice_id), amount)
        return Decimal(0)

    async def debit_note_accepted_amount(self, debit_note: DebitNote) -> Decimal:
        # A debit note with a due date is paid apart from the invoice. None is accepted, because an agreement is too
        # short for it.
        amount = Decimal(debit_note.total_amount_due)
        in_order = debit_note.payment_due_date is None and self._accounts.allows(debit_note.agreement_id, amount)
        return amount if in_order else Decimal(0)
