"""Looks at the market: which providers offer to compute, and which of them a run would hire. Nothing is signed."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

from requestor.errors import GolemError
from requestor.golem.daemon import DaemonClient
from requestor.golem.networks import GolemConnection
from requestor.golem.property_names import (
    CPU,
    DURATION,
    EXPIRATION,
    MEMORY,
    NODE_NAME,
    PRICES,
    PRICING_MODEL,
    RUNTIME,
    SUBNET,
    THREADS,
    USAGE_VECTOR,
)
from requestor.golem.provider_name import display_name
from requestor.money import SECONDS_AN_HOUR, Price, show_glm

_PLATFORM = re.compile(r"golem\.com\.payment\.platform\.([^.]+)\.address")


@dataclass(frozen=True)
class Offer:
    """One provider's offer.

    Attributes:
        threads, memory_gib: the size of the whole offer.
        price: the price of one activity.
        platforms: the payment platforms that the provider takes, such as `erc20-hoodi-tglm`.
    """

    provider_id: str
    name: str
    threads: int
    memory_gib: float
    price: Price
    platforms: frozenset[str] = frozenset()

    @property
    def first_hour(self) -> Decimal:
        """Returns the GLM for one hour at full load with the start fee; `--max-price` is compared with it."""
        return self.price.first_hour(self.threads)

    @property
    def cpu_hour(self) -> Decimal:
        return self.price.cpu_second * SECONDS_AN_HOUR

    @property
    def wall_hour(self) -> Decimal:
        return self.price.wall_second * SECONDS_AN_HOUR


@dataclass(frozen=True)
class OfferFilter:
    """Tells which offers a run takes. The demand, `offers` and `--estimate` all use it, so that they agree.

    Attributes:
        subnet: the Golem subnet.
        platform: the payment platform, such as `erc20-hoodi-tglm`.
        memory_gib: the least memory in GiB.
        max_price: the most GLM that the first hour may cost at full load; None for any price.
        is_banned: returns True for the id of a provider that gets no work.
    """

    subnet: str
    platform: str
    memory_gib: float
    max_price: Decimal | None = None
    is_banned: Callable[[str], bool] = lambda provider_id: False

    def constraints(self) -> tuple[str, ...]:
        """Returns the constraints of a demand that the market itself can check, in Golem's syntax."""
        return (f"({RUNTIME}=vm)", f"({PRICING_MODEL}=linear)", f"({MEMORY}>={self.memory_gib})")

    def refusal(self, offer: Offer) -> str | None:
        """Returns the kind of reason for which an offer is refused, in few words; None if it is taken."""
        if self.is_banned(offer.provider_id):
            return "banned"
        if self.platform not in offer.platforms:
            return f"without {self.platform}, by which this run pays"
        if offer.memory_gib < self.memory_gib:
            return f"with less than {self.memory_gib:g} GiB of memory"
        if self.max_price is not None and offer.first_hour > self.max_price:
            return "above --max-price"
        return None


@dataclass(frozen=True)
class Survey:
    """The offers of a market at one time.

    Attributes:
        taken: the offers that the filter takes, the cheapest first.
        refused: the others with their reasons, the cheapest first.
        unreadable: number of providers whose price or size could not be read.
    """

    taken: tuple[Offer, ...]
    refused: tuple[tuple[Offer, str], ...]
    unreadable: int = 0

    @property
    def count(self) -> int:
        """Returns the number of providers that offer anything."""
        return len(self.taken) + len(self.refused) + self.unreadable

    def describe(self) -> str:
        """Returns the number of offers and why each kind was refused, such as `3 offers: 2 above --max-price, …`."""
        kinds = Counter(reason for _, reason in self.refused)
        parts = []
        for reason, number in kinds.most_common():
            part = f"{number} {reason}"
            if reason == "above --max-price":
                cheapest = min(offer.first_hour for offer, why in self.refused if why == reason)
                part += f" (the cheapest asks {show_glm(cheapest)} for its first hour)"
            parts.append(part)
        if self.unreadable:
            parts.append(f"{self.unreadable} without a linear price for time and CPU")
        if self.taken:
            parts.append(f"{len(self.taken)} would be hired")
        return f"{self.count} offer{'' if self.count == 1 else 's'}" + (f": {'; '.join(parts)}" if parts else "")


async def survey_market(connection: GolemConnection, offers: OfferFilter, seconds: float) -> Survey:
    """Listens to the market for some time, and sorts one offer of each provider with a filter.

    It also hears of offers that the filter refuses, so that it can tell why.

    Args:
        connection: the daemon.
        offers: the filter.
        seconds: time in seconds.

    Raises what `DaemonClient` raises.
    """
    expiration = datetime.now(timezone.utc) + timedelta(hours=1)
    demand = {
        "properties": {SUBNET: offers.subnet, EXPIRATION: int(expiration.timestamp() * 1000)},
        "constraints": f"(&({RUNTIME}=vm)({SUBNET}={offers.subnet}))",
    }
    found: dict[str, Offer | None] = {}
    async with DaemonClient(connection.api_url, connection.app_key, patience=seconds) as daemon:
        subscription = await daemon.request("POST", "/market-api/v1/demands", demand)
        path = f"/market-api/v1/demands/{subscription}"
        deadline = time.monotonic() + seconds
        try:
            while (left := deadline - time.monotonic()) > 0:
                query = {"timeout": round(min(left, 5.0), 1), "maxEvents": 50}
                for event in await daemon.request("GET", f"{path}/events", query=query) or []:
                    proposal = event.get("proposal", {})
                    if provider := str(proposal.get("issuerId", "")):
                        found[provider] = read_offer(provider, proposal.get("properties", {}))
        finally:
            with suppress(GolemError):  # the demand ends by itself after an hour
                await daemon.request("DELETE", path)
    readable = sorted((offer for offer in found.values() if offer is not None), key=lambda offer: offer.first_hour)
    reasons = [(offer, offers.refusal(offer)) for offer in readable]
    return Survey(
        taken=tuple(offer for offer, reason in reasons if reason is None),
        refused=tuple((offer, reason) for offer, reason in reasons if reason is not None),
        unreadable=len(found) - len(readable),
    )


def read_offer(provider_id: str, properties: Mapping[str, Any]) -> Offer | None:
    """Returns the offer that these properties describe; None if they are not valid.

    A stranger's properties are not valid if they have no linear price for time and CPU alone, prices that are negative
    or no numbers, or no size.
    """
    try:
        *coefficients, start = (Decimal(repr(value)) for value in properties[PRICES])
        prices = dict(zip(properties[USAGE_VECTOR], coefficients, strict=True))
        wall_second, cpu_second = (prices.pop(counter, Decimal(0)) for counter in (DURATION, CPU))
        price = Price(start, wall_second, cpu_second)
        if any(prices.values()) or not min(start, wall_second, cpu_second) >= 0 or not price.first_hour(1).is_finite():
            return None
        return Offer(
            provider_id=provider_id,
            name=display_name(properties.get(NODE_NAME), provider_id),
            threads=max(1, int(properties[THREADS])),
            memory_gib=float(properties[MEMORY]),
            price=price,
            platforms=frozenset(match[1] for name in properties if (match := _PLATFORM.fullmatch(name))),
        )
    except (KeyError, ValueError, TypeError, ArithmeticError):
        return None
