"""The filter of offers: it takes those that fit, and counts the others by the reason."""

from __future__ import annotations

from decimal import Decimal

import pytest

from requestor.golem.market import Offer, OfferFilter, Survey
from requestor.money.amounts import Price

WANTED = OfferFilter("public", "erc20-hoodi-tglm", 1.5, Decimal(1), {"0xbanned"}.__contains__)


def offer(provider: str = "0x1", hour: str = "0.5", memory: float = 4.0, platform: str = "erc20-hoodi-tglm") -> Offer:
    price = Price(Decimal(0), Decimal(hour) / 3600, Decimal(0))
    return Offer(provider, "bold-fox", 1, memory, price, frozenset({platform}))


def test_a_good_offer_is_taken() -> None:
    assert WANTED.refusal(offer()) is None


@pytest.mark.parametrize(
    ("refused", "reason"),
    [
        (offer(hour="1.8"), "above --max-price"),
        (offer(platform="erc20-polygon-glm"), "without erc20-hoodi-tglm"),
        (offer(memory=1.0), "less than 1.5 GiB"),
        (offer("0xbanned"), "banned"),
    ],
)
def test_each_kind_of_refusal_has_its_reason(refused: Offer, reason: str) -> None:
    assert reason in str(WANTED.refusal(refused))


def test_a_survey_counts_each_kind() -> None:
    offers = [offer(hour="1.8"), offer(hour="2.5"), offer(platform="erc20-polygon-glm")]
    survey = Survey((), tuple((one, str(WANTED.refusal(one))) for one in offers), unreadable=1)
    text = survey.describe()
    assert text.startswith("4 offers: 2 above --max-price (the cheapest asks 1.8 GLM for its first hour); 1 without")
    assert text.endswith("1 without a linear price for time and CPU")


def test_an_empty_market_has_no_offers() -> None:
    assert Survey((), ()).describe() == "0 offers"
