"""Talks to the requestor's yagna daemon without yapapi: REST, market, reservation, unpaid agreements."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nima.lazy import attach

if TYPE_CHECKING:
    from requestor.golem.daemon import DaemonClient
    from requestor.golem.market import Offer, read_offer, scan_offers
    from requestor.golem.networks import (
        DEFAULT_NETWORK,
        DEFAULT_SUBNET,
        DRIVER,
        TOKENS,
        Connection,
        chosen_network,
        chosen_subnet,
        is_real_money,
        payment_platform,
        required_app_key,
    )
    from requestor.golem.orphans import reject_invoice
    from requestor.golem.properties import (
        ACCEPT_TIMEOUT,
        CHOSEN_PLATFORM,
        CPU,
        DEBIT_NOTE_INTERVAL,
        DURATION,
        EXPIRATION,
        MEMORY,
        MULTI_ACTIVITY,
        NODE_NAME,
        PACKAGE_FORMAT,
        PAYMENT_TIMEOUT,
        PRICES,
        PRICING_MODEL,
        RUNTIME,
        SUBNET,
        TASK_PACKAGE,
        THREADS,
        USAGE_VECTOR,
    )
    from requestor.golem.provider_name import ID_LENGTH, display_name
    from requestor.golem.reservation import LONGEST_RUN, Reservation
    from requestor.golem.retrying import growing_pauses, retry
    from requestor.golem.wallet import Wallet
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "daemon": ["DaemonClient"],
            "market": ["Offer", "read_offer", "scan_offers"],
            "networks": [
                "Connection",
                "DEFAULT_NETWORK",
                "DEFAULT_SUBNET",
                "DRIVER",
                "TOKENS",
                "chosen_network",
                "chosen_subnet",
                "is_real_money",
                "payment_platform",
                "required_app_key",
            ],
            "orphans": ["reject_invoice"],
            "properties": [
                "ACCEPT_TIMEOUT",
                "CHOSEN_PLATFORM",
                "CPU",
                "DEBIT_NOTE_INTERVAL",
                "DURATION",
                "EXPIRATION",
                "MEMORY",
                "MULTI_ACTIVITY",
                "NODE_NAME",
                "PACKAGE_FORMAT",
                "PAYMENT_TIMEOUT",
                "PRICES",
                "PRICING_MODEL",
                "RUNTIME",
                "SUBNET",
                "TASK_PACKAGE",
                "THREADS",
                "USAGE_VECTOR",
            ],
            "provider_name": ["ID_LENGTH", "display_name"],
            "reservation": ["LONGEST_RUN", "Reservation"],
            "retrying": ["growing_pauses", "retry"],
            "wallet": ["Wallet"],
        },
    )

__all__ = [
    "ACCEPT_TIMEOUT",
    "CHOSEN_PLATFORM",
    "CPU",
    "DEBIT_NOTE_INTERVAL",
    "DEFAULT_NETWORK",
    "DEFAULT_SUBNET",
    "DRIVER",
    "DURATION",
    "EXPIRATION",
    "ID_LENGTH",
    "LONGEST_RUN",
    "MEMORY",
    "MULTI_ACTIVITY",
    "NODE_NAME",
    "PACKAGE_FORMAT",
    "PAYMENT_TIMEOUT",
    "PRICES",
    "PRICING_MODEL",
    "RUNTIME",
    "SUBNET",
    "TASK_PACKAGE",
    "THREADS",
    "TOKENS",
    "USAGE_VECTOR",
    "Connection",
    "DaemonClient",
    "Offer",
    "Reservation",
    "Wallet",
    "chosen_network",
    "chosen_subnet",
    "display_name",
    "growing_pauses",
    "is_real_money",
    "payment_platform",
    "read_offer",
    "reject_invoice",
    "required_app_key",
    "retry",
    "scan_offers",
]
