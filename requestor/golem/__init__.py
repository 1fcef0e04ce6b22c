"""Talks to the requestor's yagna daemon without yapapi: REST, market, reservation, unpaid agreements."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nima.lazy import attach

if TYPE_CHECKING:
    from requestor.golem import property_names as property_names
    from requestor.golem.daemon import DaemonClient
    from requestor.golem.market import Offer, read_offer, scan_offers
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
    from requestor.golem.orphans import reject_invoice
    from requestor.golem.provider_name import SHOWN_ID_LENGTH, display_name
    from requestor.golem.reservation import LONGEST_RUN, Reservation
    from requestor.golem.retrying import growing_pauses, retry_until_success
    from requestor.golem.wallet import Wallet
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "daemon": ["DaemonClient"],
            "market": ["Offer", "read_offer", "scan_offers"],
            "networks": [
                "GolemConnection",
                "DEFAULT_NETWORK",
                "DEFAULT_SUBNET",
                "PAYMENT_DRIVER",
                "TOKEN_OF_NETWORK",
                "chosen_network",
                "chosen_subnet",
                "is_real_money",
                "payment_platform",
                "required_app_key",
            ],
            "orphans": ["reject_invoice"],
            "property_names": [],
            "provider_name": ["SHOWN_ID_LENGTH", "display_name"],
            "reservation": ["LONGEST_RUN", "Reservation"],
            "retrying": ["growing_pauses", "retry_until_success"],
            "wallet": ["Wallet"],
        },
    )

__all__ = [
    "DEFAULT_NETWORK",
    "DEFAULT_SUBNET",
    "LONGEST_RUN",
    "PAYMENT_DRIVER",
    "SHOWN_ID_LENGTH",
    "TOKEN_OF_NETWORK",
    "DaemonClient",
    "GolemConnection",
    "Offer",
    "Reservation",
    "Wallet",
    "chosen_network",
    "chosen_subnet",
    "display_name",
    "growing_pauses",
    "is_real_money",
    "payment_platform",
    "property_names",
    "read_offer",
    "reject_invoice",
    "required_app_key",
    "retry_until_success",
    "scan_offers",
]
