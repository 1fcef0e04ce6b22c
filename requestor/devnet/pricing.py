"""Linear pricing, as Golem's providers do it: a price a counter, and a start price an activity, exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from requestor.golem.properties import CPU, DURATION

COUNTERS = (CPU, DURATION)  # a provider's order: its preset's keys, sorted

_ATTO = Decimal("1e-18")  # payments are rounded to the token's 18 decimals


@dataclass(frozen=True)
class LinearPricing:
    """`coefficients` in GLM: one a counter of the usage vector (GLM/s), then the start price of an activity."""

    coefficients: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.coefficients:
            raise ValueError("linear pricing needs at least the start price")

    def cost(self, usage: Sequence[float]) -> Decimal:
        """GLM that an activity with this usage vector costs, rounded half even to 18 decimals.

        Floats count as the decimal number they print as. Raises ValueError where the lengths do not match.
        """
        *rates, start = (Decimal(repr(value)) for value in self.coefficients)
        if len(usage) != len(rates):
            raise ValueError(f"usage has {len(usage)} counters, the agreement prices {len(rates)}")
        amounts = (rate * Decimal(repr(float(count))) for rate, count in zip(rates, usage, strict=True))
        return sum(amounts, start).quantize(_ATTO)


def plain(amount: Decimal) -> str:
    """GLM as a decimal number without an exponent and without trailing zeros."""
    return format(amount.normalize(), "f")
