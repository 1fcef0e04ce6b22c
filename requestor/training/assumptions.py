"""Holds the values that the estimate of a run assumes; prices come from the market if it can be asked."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from requestor.backends import offer_filter
from requestor.errors import GolemError
from requestor.golem import GolemConnection, Offer, chosen_subnet, survey_market
from requestor.money import Price
from requestor.planning import USUAL_THREADS, USUAL_UPLINK
from requestor.setup import golem_environment
from requestor.training.options import TrainOptions
from requestor.training.providers import ban_list

MARKET_SECONDS = 5.0  # time for which offers are collected before a run is estimated
HOUR = Decimal(3600)
# The prices that yagna suggests to providers (golemsp): GLM for an hour, and for a CPU hour.
GOLEM_DEFAULT_PRICE = Price(Decimal(0), Decimal("0.005") / HOUR, Decimal("0.025") / HOUR)


@dataclass(frozen=True)
class Assumptions:
    """Holds the values that are not known before a run. The speeds of backbones are in `requestor.planning`.

    Attributes:
        uplink, downlink: bytes a second from this machine to all providers together, and back.
        photo_bytes: bytes of one photo in a shard, a WebP of its middle 224 × 224 pixels.
        threads: number of threads that a provider has, and bills.
        price: price of a provider.
        priced_by: the source of `threads` and `price`, as text for people.
    """

    uplink: float = USUAL_UPLINK
    downlink: float = 100e6 / 8
    photo_bytes: int = 11_800
    threads: int = USUAL_THREADS
    price: Price = GOLEM_DEFAULT_PRICE
    priced_by: str = "what Golem suggests to providers; nobody was asked"

    def at_market(self, offers: Sequence[Offer], workers: int, where: str) -> Assumptions:
        """Returns the same assumptions with the mean price and the mean threads of the cheapest offers.

        Args:
            offers: one or more offers.
            workers: number of providers that will be hired, and of offers that count.
            where: the source of the offers, as text for people.
        """
        cheapest = sorted(offers, key=lambda offer: offer.first_hour)[:workers]
        prices, count = [offer.price for offer in cheapest], len(cheapest)
        price = Price(
            sum((price.start for price in prices), Decimal(0)) / count,
            sum((price.wall_second for price in prices), Decimal(0)) / count,
            sum((price.cpu_second for price in prices), Decimal(0)) / count,
        )
        threads = round(sum(offer.threads for offer in cheapest) / count)
        return replace(self, price=price, threads=threads, priced_by=f"the {count} cheapest of {len(offers)} {where}")


def market_assumptions(options: TrainOptions) -> Assumptions:
    """Asks the market what providers cost now, and returns assumptions with these prices.

    If there is no daemon, if the market cannot be asked, or if no offer is within `options.max_price`, the prices that
    Golem suggests to providers are assumed.
    """
    usual, environment = Assumptions(), golem_environment()
    if not environment.get("YAGNA_APPKEY"):
        return usual
    connection = GolemConnection.from_environment(environment, options.network)
    subnet = chosen_subnet(environment, options.subnet)
    try:
        banned = ban_list().read()
        wanted = offer_filter(connection, subnet, options.max_price, banned.__contains__)
        survey = asyncio.run(survey_market(connection, wanted, MARKET_SECONDS))
    except GolemError as error:
        return replace(usual, priced_by=f"what Golem suggests to providers, as the market could not be asked: {error}")
    if not survey.taken:
        asked = f"nobody in subnet {subnet} would be hired: {survey.describe()}"
        return replace(usual, priced_by=f"what Golem suggests to providers, as {asked}")
    return usual.at_market(survey.taken, options.workers, f"offers in subnet {subnet} now")
