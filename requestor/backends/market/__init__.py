"""Hires through yapapi: the demand, the choice of offers and bills, yapapi's failures and private names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nima.lazy import attach

if TYPE_CHECKING:
    from requestor.backends.market.demand import MarketDemand, ProviderImage, agreement_end
    from requestor.backends.market.failures import in_words, is_our_fault, trouble_of
    from requestor.backends.market.strategy import ProviderChoice
    from requestor.backends.market.yapapi_private import (
        CreateActivity,
        agreement_of,
        create_activities_with,
        pay_from,
        send_patiently,
        start_gftp_apart,
    )
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "demand": ["MarketDemand", "ProviderImage", "agreement_end"],
            "failures": ["in_words", "is_our_fault", "trouble_of"],
            "strategy": ["ProviderChoice"],
            "yapapi_private": [
                "CreateActivity",
                "agreement_of",
                "create_activities_with",
                "pay_from",
                "send_patiently",
                "start_gftp_apart",
            ],
        },
    )

__all__ = [
    "CreateActivity",
    "MarketDemand",
    "ProviderChoice",
    "ProviderImage",
    "agreement_end",
    "agreement_of",
    "create_activities_with",
    "in_words",
    "is_our_fault",
    "pay_from",
    "send_patiently",
    "start_gftp_apart",
    "trouble_of",
]
