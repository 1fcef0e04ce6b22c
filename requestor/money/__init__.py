"""Computes with amounts of GLM as exact decimals, with prices, and with a run's budget.

Example:
    >>> from decimal import Decimal
    >>> from requestor.money import Price, parse_glm, show_glm
    >>> budget = parse_glm("2GLM")
    >>> price = Price(start=Decimal("0.01"), wall_second=Decimal("0.00001"), cpu_second=Decimal("0.00002"))
    >>> show_glm(price.first_hour(threads=4))
    '0.334 GLM'
    >>> price.first_hour(threads=4) <= budget
    True
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nima.lazy import attach

if TYPE_CHECKING:
    from requestor.money.accounts import BILLING_SLACK, EVALUATION_RESERVE, SHORTEST_ATTEMPT_SECONDS, Accounts
    from requestor.money.amounts import SECONDS_AN_HOUR, Price, parse_glm, show_glm
    from requestor.money.clock import CLOCK, Clock
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "accounts": ["Accounts", "BILLING_SLACK", "EVALUATION_RESERVE", "SHORTEST_ATTEMPT_SECONDS"],
            "amounts": ["Price", "SECONDS_AN_HOUR", "parse_glm", "show_glm"],
            "clock": ["CLOCK", "Clock"],
        },
    )

__all__ = [
    "BILLING_SLACK",
    "CLOCK",
    "EVALUATION_RESERVE",
    "SECONDS_AN_HOUR",
    "SHORTEST_ATTEMPT_SECONDS",
    "Accounts",
    "Clock",
    "Price",
    "parse_glm",
    "show_glm",
]
