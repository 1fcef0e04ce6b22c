"""Talks to the requestor's yagna daemon without yapapi: REST, market, reservation, unpaid agreements."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nima.lazy import attach

if TYPE_CHECKING:
    from requestor.golem import property_names as property_names
    from requestor.golem.bills import note_payments, reject_invoice
    from requestor.golem.daemon import DaemonClient, reason_in
    from requestor.golem.leftovers import Leftover, known_leftovers, release_leftovers
    from requestor.golem.market import Offer, OfferFilter, Survey, read_offer, survey_market
    from requestor.golem.networks import (
        DEFAULT_NETWORK,
        DEFAULT_SUBNET,
        PAYMENT_DRIVER,
        TOKEN_OF_NETWORK,
        GolemConnection,
        chosen_network,
        chosen_subnet,
        is_real_money,
        payment_platform,
        required_app_key,
    )
    from requestor.golem.provider_name import SHOWN_ID_LENGTH, display_name
    from requestor.golem.reservation import LONGEST_AGREEMENT, LONGEST_TASK, Reservation, agreements_for
    from requestor.golem.retrying import (
        PATIENCE,
        REQUEST_ATTEMPTS,
        Absence,
        Trouble,
        about_provider,
        growing_pauses,
        repeat_request,
        retry_until_success,
        trouble_of_error,
        trouble_of_status,
    )
    from requestor.golem.wallet import Wallet
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "daemon": ["DaemonClient", "reason_in"],
            "leftovers": ["Leftover", "known_leftovers", "release_leftovers"],
            "market": ["Offer", "OfferFilter", "Survey", "read_offer", "survey_market"],
            "networks": [
                "GolemConnection",
                "DEFAULT_NETWORK",
                "DEFAULT_SUBNET",
                "PAYMENT_DRIVER",
                "REQUEST_ATTEMPTS",
                "TOKEN_OF_NETWORK",
                "chosen_network",
                "chosen_subnet",
                "is_real_money",
                "payment_platform",
                "required_app_key",
            ],
            "bills": ["note_payments", "reject_invoice"],
            "property_names": [],
            "provider_name": ["SHOWN_ID_LENGTH", "display_name"],
            "reservation": ["LONGEST_AGREEMENT", "LONGEST_TASK", "Reservation", "agreements_for"],
            "retrying": [
                "Absence",
                "PATIENCE",
                "REQUEST_ATTEMPTS",
                "Trouble",
                "about_provider",
                "growing_pauses",
                "repeat_request",
                "retry_until_success",
                "trouble_of_error",
                "trouble_of_status",
            ],
            "wallet": ["Wallet"],
        },
    )

__all__ = [
    "DEFAULT_NETWORK",
    "DEFAULT_SUBNET",
    "LONGEST_AGREEMENT",
    "LONGEST_TASK",
    "PATIENCE",
    "PAYMENT_DRIVER",
    "REQUEST_ATTEMPTS",
    "SHOWN_ID_LENGTH",
    "TOKEN_OF_NETWORK",
    "Absence",
    "DaemonClient",
    "GolemConnection",
    "Leftover",
    "Offer",
    "OfferFilter",
    "Reservation",
    "Survey",
    "Trouble",
    "Wallet",
    "about_provider",
    "agreements_for",
    "chosen_network",
    "chosen_subnet",
    "display_name",
    "growing_pauses",
    "is_real_money",
    "known_leftovers",
    "note_payments",
    "payment_platform",
    "property_names",
    "read_offer",
    "reason_in",
    "reject_invoice",
    "release_leftovers",
    "repeat_request",
    "required_app_key",
    "retry_until_success",
    "survey_market",
    "trouble_of_error",
    "trouble_of_status",
]
