"""Computes with GLM as exact decimals, with prices, and with the promise that a budget is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nima.lazy import attach

if TYPE_CHECKING:
    from requestor.money.accounts import BILLING_SLACK, RESERVE, SHORTEST_ATTEMPT, Accounts
    from requestor.money.amounts import SECONDS_AN_HOUR, Price, parse_glm, show_glm
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "accounts": ["Accounts", "BILLING_SLACK", "RESERVE", "SHORTEST_ATTEMPT"],
            "amounts": ["Price", "SECONDS_AN_HOUR", "parse_glm", "show_glm"],
        },
    )

__all__ = [
    "BILLING_SLACK",
    "RESERVE",
    "SECONDS_AN_HOUR",
    "SHORTEST_ATTEMPT",
    "Accounts",
    "Price",
    "parse_glm",
    "show_glm",
]
