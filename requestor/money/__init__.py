"""Computes with GLM as exact decimals, with prices, and with the promise that a budget is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nima.lazy import attach

if TYPE_CHECKING:
    from requestor.money.accounts import BILLING_SLACK, EVALUATION_RESERVE, SHORTEST_ATTEMPT_SECONDS, Accounts
    from requestor.money.amounts import SECONDS_AN_HOUR, Price, parse_glm, show_glm
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "accounts": ["Accounts", "BILLING_SLACK", "EVALUATION_RESERVE", "SHORTEST_ATTEMPT_SECONDS"],
            "amounts": ["Price", "SECONDS_AN_HOUR", "parse_glm", "show_glm"],
        },
    )

__all__ = [
    "BILLING_SLACK",
    "EVALUATION_RESERVE",
    "SECONDS_AN_HOUR",
    "SHORTEST_ATTEMPT_SECONDS",
    "Accounts",
    "Price",
    "parse_glm",
    "show_glm",
]
