"""Money as exact decimals: what the user types, what a provider costs, and whether one more task still fits."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

from requestor.errors import ConfigurationError

SECONDS_AN_HOUR = 3600
GLM_DECIMALS = 18  # the token's own precision (ERC-20 `decimals`)
_AMOUNT = re.compile(r"\s*(?P<number>[0-9]+(\.[0-9]+)?|\.[0-9]+)\s*(?P<unit>[A-Za-z]*)\s*")


def parse_glm(text: str) -> Decimal:
    """Read an amount such as `2GLM`, `0.5 tGLM` or `2`, exactly.

    Raises ConfigurationError if it is no number, not positive, finer than 1e-18, or in another currency.
    """
    match = _AMOUNT.fullmatch(text)
    if match is None:
        raise ConfigurationError(f"'{text}' is no amount of GLM; write it like 2GLM or 0.25GLM.")
    unit = match["unit"]
    if unit.lower() not in ("", "glm", "tglm"):
        raise ConfigurationError(f"'{text}' is in {unit}, but providers are paid in GLM; write it like 2GLM.")
    amount = Decimal(match["number"])
    if amount <= 0:
        raise ConfigurationError(f"'{text}' is not more than nothing; write an amount like 2GLM.")
    if -int(amount.as_tuple().exponent) > GLM_DECIMALS:
        raise ConfigurationError(f"'{text}' is finer than GLM's {GLM_DECIMALS} decimals.")
    return amount


def show_glm(amount: Decimal) -> str:
    """An amount for people: plain notation, five significant digits, no trailing zeros."""
    if amount == 0:
        return "0 GLM"
    digits = max(0, 4 - amount.adjusted())
    text = f"{amount:.{digits}f}"
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text} GLM"


@dataclass(frozen=True)
class Price:
    """A provider's linear price, in GLM: a fee for each activity, a second of wall time, a second of CPU time."""

    start: Decimal
    wall_second: Decimal
    cpu_second: Decimal

    def at_full_load(self, seconds: float, threads: int) -> Decimal:
        """The most that `seconds` of one activity can cost: every thread busy all the time, and the start fee."""
        rate = self.wall_second + threads * self.cpu_second
        return self.start + rate * Decimal(str(seconds))

    def first_hour(self, threads: int) -> Decimal:
        """What `--max-price` is held against: one hour at full load, the start fee included."""
        return self.at_full_load(SECONDS_AN_HOUR, threads)


class Budget:
    """Holds the cap, and says of every task before it is issued whether it still fits under it.

    Money promised counts as spent: a running activity is charged at full load from its start until the end
    of the task asked for, whatever it has reported so far.
    """

    def __init__(self, cap: Decimal, already_spent: Decimal = Decimal(0)) -> None:
        self.cap = cap
        self._already_spent = already_spent
        self._reported: dict[str, Decimal] = {}
        self._promised: dict[str, Decimal] = {}

    def report(self, activity: str, cost: Decimal) -> None:
        """Note what an activity is known to have cost so far; costs never fall."""
        self._reported[activity] = max(cost, self._reported.get(activity, Decimal(0)))

    def promise(self, activity: str, at_most: Decimal) -> None:
        """Note what a running activity may have cost, at most, when its present task ends."""
        self._promised[activity] = at_most

    def settle(self, activity: str) -> None:
        """An activity has ended: from now on only what it has reported counts."""
        self._promised.pop(activity, None)

    @property
    def spent(self) -> Decimal:
        """GLM known to be spent, earlier runs of the same folder included."""
        return self._already_spent + sum(self._reported.values(), Decimal(0))

    @property
    def committed(self) -> Decimal:
        """GLM spent, or promised to the activities that run now."""
        known = {name: max(self._promised.get(name, Decimal(0)), cost) for name, cost in self._reported.items()}
        known.update({name: cost for name, cost in self._promised.items() if name not in known})
        return self._already_spent + sum(known.values(), Decimal(0))

    def allows(self, activity: str, at_most: Decimal) -> bool:
        """Whether raising this activity's promise to `at_most` keeps everything under the cap."""
        present = max(self._promised.get(activity, Decimal(0)), self._reported.get(activity, Decimal(0)))
        return self.committed - present + at_most <= self.cap
