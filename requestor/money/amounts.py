"""Handles amounts of GLM as exact decimals: reads what users type, shows amounts, and computes a provider's price."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

from requestor.errors import ConfigurationError

SECONDS_AN_HOUR = 3600
GLM_DECIMALS = 18  # the token's own precision (ERC-20 `decimals`)
_AMOUNT = re.compile(r"\s*(?P<number>[0-9]+(\.[0-9]+)?|\.[0-9]+)\s*(?P<unit>[A-Za-z]*)\s*")


def parse_glm(text: str) -> Decimal:
    """Reads an amount such as `2GLM`, `0.5 tGLM` or `2`, exactly.

    Raises ConfigurationError if it is not a number, not positive, has more than 18 decimals, or is in another currency.
    """
    match = _AMOUNT.fullmatch(text)
    if match is None:
        raise ConfigurationError(f"'{text}' is not an amount of GLM; write it like 2GLM or 0.25GLM.")
    unit = match["unit"]
    if unit.lower() not in ("", "glm", "tglm"):
        raise ConfigurationError(f"'{text}' is in {unit}, but providers are paid in GLM; write it like 2GLM.")
    amount = Decimal(match["number"])
    if amount <= 0:
        raise ConfigurationError(f"'{text}' is not above zero; write an amount like 2GLM.")
    if -int(amount.as_tuple().exponent) > GLM_DECIMALS:
        raise ConfigurationError(f"'{text}' has more than GLM's {GLM_DECIMALS} decimals; write fewer, like 0.25GLM.")
    return amount


def show_glm(amount: Decimal) -> str:
    """Writes an amount for people: plain notation, five significant digits, no trailing zeros."""
    if amount == 0:
        return "0 GLM"
    digits = max(0, 4 - amount.adjusted())
    text = f"{amount:.{digits}f}"
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text} GLM"


# Share by which the metered CPU time may exceed that of all threads at full load: a real exe-unit counts its whole
# process tree, emulator and supervisor included (yagna exe-unit/components/counters/src/os/unix.rs).
METERING_SLACK = Decimal("0.1")


@dataclass(frozen=True)
class Price:
    """A provider's linear price.

    start: GLM for each activity.
    wall_second: GLM for each second of wall time.
    cpu_second: GLM for each second of CPU time.
    """

    start: Decimal
    wall_second: Decimal
    cpu_second: Decimal

    def to_text(self) -> str:
        """Writes the three numbers exactly; `from_text` reads them."""
        return f"{self.start} {self.wall_second} {self.cpu_second}"

    @staticmethod
    def from_text(text: str) -> Price:
        """Reads a price that `to_text` has written."""
        start, wall_second, cpu_second = map(Decimal, text.split())
        return Price(start, wall_second, cpu_second)

    def at_full_load(self, seconds: float, threads: int) -> Decimal:
        """Returns the most GLM that `seconds` of one activity can cost: the start fee, and all threads always busy."""
        rate = self.wall_second + threads * self.cpu_second
        return self.start + rate * Decimal(str(seconds))

    def at_most(self, seconds: float, threads: int) -> Decimal:
        """Returns the most GLM that an honest provider's meter can show for `seconds` of one activity.

        It is more than at full load: the meter also counts what the VM needs for itself.
        """
        return self.at_full_load(seconds, threads) + METERING_SLACK * threads * self.cpu_second * Decimal(str(seconds))

    def first_hour(self, threads: int) -> Decimal:
        """Returns the GLM that the first hour costs at full load, start fee included; `--max-price` limits it."""
        return self.at_full_load(SECONDS_AN_HOUR, threads)
