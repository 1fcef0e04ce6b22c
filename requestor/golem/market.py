"""A look at the market: who offers to compute, how large and how dear they are. Nothing is signed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

from requestor.budget import SECONDS_AN_HOUR, Price
from requestor.golem.wallet import Connection, Wallet
from requestor.provider_name import display_name

_COUNTERS = {"golem.usage.duration_sec": "wall_second", "golem.usage.cpu_sec": "cpu_second"}


@dataclass(frozen=True)
class Offer:
    """One provider's offer.

    threads, memory_gib: of the whole offer. price: of one activity.
    """

    provider_id: str
    name: str
    threads: int
    memory_gib: float
    price: Price

    @property
    def first_hour(self) -> Decimal:
        """GLM for one hour at full load, start fee included: what `--max-price` is held against."""
        return self.price.first_hour(self.threads)

    @property
    def cpu_hour(self) -> Decimal:
        return self.price.cpu_second * SECONDS_AN_HOUR

    @property
    def wall_hour(self) -> Decimal:
        return self.price.wall_second * SECONDS_AN_HOUR


async def scan_offers(connection: Connection, subnet: str, seconds: float) -> list[Offer]:
    """Listen to the market for so long; one offer a provider, the cheapest first hour first.

    Offers that are no linear price for time and CPU are left out. Raises what `Wallet` raises.
    """
    wallet = Wallet(connection)
    expiration = datetime.now(timezone.utc) + timedelta(hours=1)
    demand = {
        "properties": {
            "golem.node.debug.subnet": subnet,
            "golem.srv.comp.expiration": int(expiration.timestamp() * 1000),
        },
        "constraints": f"(&(golem.runtime.name=vm)(golem.node.debug.subnet={subnet})(golem.com.pricing.model=linear))",
    }
    subscription = await wallet.call("POST", "/market-api/v1/demands", demand)
    found: dict[str, Offer] = {}
    deadline = time.monotonic() + seconds
    try:
        while (left := deadline - time.monotonic()) > 0:
            path = f"/market-api/v1/demands/{subscription}/events?timeout={min(left, 5):.1f}&maxEvents=50"
            for event in await wallet.call("GET", path) or []:
                proposal = event.get("proposal", {})
                if offer := _read(str(proposal.get("issuerId", "")), proposal.get("properties", {})):
                    found[offer.provider_id] = offer
    finally:
        await wallet.call("DELETE", f"/market-api/v1/demands/{subscription}")
    return sorted(found.values(), key=lambda offer: offer.first_hour)


def _read(provider_id: str, properties: Mapping[str, Any]) -> Offer | None:
    """The offer that these properties describe; None where a stranger's properties are not what they should be."""
    try:
        *coefficients, start = (Decimal(repr(value)) for value in properties["golem.com.pricing.model.linear.coeffs"])
        counters = properties["golem.com.usage.vector"]
        prices = {_COUNTERS[name]: value for name, value in zip(counters, coefficients, strict=True)}
        zero = Decimal(0)
        return Offer(
            provider_id=provider_id,
            name=display_name(properties.get("golem.node.id.name"), provider_id),
            threads=max(1, int(properties["golem.inf.cpu.threads"])),
            memory_gib=float(properties["golem.inf.mem.gib"]),
            price=Price(start, prices.get("wall_second", zero), prices.get("cpu_second", zero)),
        )
    except (KeyError, ValueError, TypeError, ArithmeticError):
        return None
