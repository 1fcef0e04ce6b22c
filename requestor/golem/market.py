"""Looks at the market: which providers offer to compute, their size and their price. Nothing is signed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

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
from requestor.money import SECONDS_AN_HOUR, Price


@dataclass(frozen=True)
class Offer:
    """One provider's offer.

    Attributes:
        threads, memory_gib: the size of the whole offer.
        price: the price of one activity.
    """

    provider_id: str
    name: str
    threads: int
    memory_gib: float
    price: Price

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


async def scan_offers(connection: GolemConnection, subnet: str, seconds: float) -> list[Offer]:
    """Listens to the market for `seconds`, and returns one offer per provider, sorted by the price of the first hour.

    Offers without a linear price for time and CPU are left out. Raises what `DaemonClient` raises.
    """
    expiration = datetime.now(timezone.utc) + timedelta(hours=1)
    demand = {
        "properties": {
            SUBNET: subnet,
            EXPIRATION: int(expiration.timestamp() * 1000),
        },
        "constraints": f"(&({RUNTIME}=vm)({SUBNET}={subnet})({PRICING_MODEL}=linear))",
    }
    found: dict[str, Offer] = {}
    async with DaemonClient(connection.api_url, connection.app_key) as daemon:
        subscription = await daemon.request("POST", "/market-api/v1/demands", demand)
        path = f"/market-api/v1/demands/{subscription}"
        deadline = time.monotonic() + seconds
        try:
            while (left := deadline - time.monotonic()) > 0:
                query = {"timeout": round(min(left, 5.0), 1), "maxEvents": 50}
                for event in await daemon.request("GET", f"{path}/events", query=query) or []:
                    proposal = event.get("proposal", {})
                    if offer := read_offer(str(proposal.get("issuerId", "")), proposal.get("properties", {})):
                        found[offer.provider_id] = offer
        finally:
            await daemon.request("DELETE", path)
    return sorted(found.values(), key=lambda offer: offer.first_hour)


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
        )
    except (KeyError, ValueError, TypeError, ArithmeticError):
        return None
