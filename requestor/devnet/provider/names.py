"""Chooses the names and prices of the devnet's providers: the same on every machine."""

from __future__ import annotations

_FIRST = ("amber", "brave", "calm", "dusky", "eager", "fair", "gentle", "happy", "ivory", "jolly", "keen", "lucid")
_SECOND = ("otter", "heron", "lynx", "finch", "marten", "crane", "badger", "swift", "beaver", "robin", "ibex")

# GLM per CPU second, per second, per activity. The proportions are golemsp's own (a second costs a fifth of a CPU
# second, the start is free), but 14 times its prices, so that one minute of work changes a wallet visibly.
BASE_PRICES = (1e-4, 2e-5, 0.0)
_FACTORS = (1.0, 1.2, 0.9, 1.1, 0.8)


def provider_name(index: int) -> str:
    """Returns one of 132 two-word names; from 132 on, the same names with a number."""
    first, second = _FIRST[index % len(_FIRST)], _SECOND[index % len(_SECOND)]
    cycle = index // (len(_FIRST) * len(_SECOND))
    return f"{first}-{second}" + (f"-{cycle + 1}" if cycle else "")


def provider_prices(index: int) -> tuple[float, ...]:
    """Returns the prices of the provider with this number, in GLM: per CPU second, per second, per activity.

    Each of five successive providers has other prices.
    """
    factor = _FACTORS[index % len(_FACTORS)]
    return tuple(round(price * factor, 12) for price in BASE_PRICES)
