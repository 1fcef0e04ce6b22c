"""Computes prices as Golem's providers do with linear pricing, exactly.

There is one price per counter, and a start price per activity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from requestor.golem import property_names

COUNTERS = (property_names.CPU, property_names.DURATION)  # in a provider's order: the keys of its preset, sorted

_ATTO = Decimal("1e-18")  # payments are rounded to the token's 18 decimals


@dataclass(frozen=True)
class LinearPricing:
    """Computes the price of activities.

    `coefficients` are in GLM: one per counter of the usage vector (GLM/s), then the start price of an activity. Raises
    ValueError if there are none.
    """

    coefficients: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.coefficients:
            raise ValueError("linear pricing needs at least the start price")

    def cost(self, usage: Sequence[float]) -> Decimal:
        """Returns the GLM that an activity with this usage vector costs, rounded half even to 18 decimals.

        A float counts as the decimal number that it prints as. Raises ValueError if the lengths do not match.
        """
        *rates, start = (Decimal(repr(value)) for value in self.coefficients)
        if len(usage) != len(rates):
            raise ValueError(f"usage has {len(usage)} counters, the agreement prices {len(rates)}")
        amounts = (rate * Decimal(repr(float(count))) for rate, count in zip(rates, usage, strict=True))
        return sum(amounts, start).quantize(_ATTO)


def plain_decimal(amount: Decimal) -> str:
    """Writes GLM as a decimal number without an exponent and without trailing zeros."""
    return format(amount.normalize(), "f")
