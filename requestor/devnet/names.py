"""Names of the devnet's providers, and how their prices differ: the same on every machine."""

from __future__ import annotations

_FIRST = ("amber", "brave", "calm", "dusky", "eager", "fair", "gentle", "happy", "ivory", "jolly", "keen", "lucid")
_SECOND = ("otter", "heron", "lynx", "finch", "marten", "crane", "badger", "swift", "beaver", "robin", "ibex")

# GLM per CPU second, per second, per activity. golemsp's own proportions (time costs a fifth of CPU, starting is
# free), but 14 times its prices, so that a minute of work can be seen on a wallet.
BASE_PRICES = (1e-4, 2e-5, 0.0)
_FACTORS = (1.0, 1.2, 0.9, 1.1, 0.8)


def provider_name(index: int) -> str:
    """132 two-word names, then the same with a number."""
    first, second = _FIRST[index % len(_FIRST)], _SECOND[index % len(_SECOND)]
    cycle = index // (len(_FIRST) * len(_SECOND))
    return f"{first}-{second}" + (f"-{cycle + 1}" if cycle else "")


def provider_prices(index: int) -> tuple[float, ...]:
    factor = _FACTORS[index % len(_FACTORS)]
    return tuple(round(price * factor, 12) for price in BASE_PRICES)
