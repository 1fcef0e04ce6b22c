"""A provider's answers to demands, by the rules of Golem's provider agent."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from requestor.devnet.provider.negotiation import Counter, Reject, Silence, Terms, negotiate, review
from requestor.golem.property_names import (
    ACCEPT_TIMEOUT,
    CHOSEN_PLATFORM,
    DEBIT_NOTE_INTERVAL,
    EXPIRATION,
    PAYMENT_TIMEOUT,
    PRICES,
)

NOW = 1_700_000_000.0
MINUTE, HOUR = 60.0, 3600.0
TERMS = Terms()
OFFER = {"golem.node.id.name": "amber-otter", PRICES: [1e-4, 2e-5, 0.0], **TERMS.offered()}


def demand(expires_in: float = 20 * MINUTE, **changes: Any) -> dict[str, Any]:
    """Makes a demand as yapapi does for a short job: it takes over the acceptance time-out, without the other two."""
    values = {
        CHOSEN_PLATFORM: "erc20-hoodi-tglm",
        EXPIRATION: int((NOW + expires_in) * 1000),
        ACCEPT_TIMEOUT: 240,
    }
    names = {
        "accept": ACCEPT_TIMEOUT,
        "interval": DEBIT_NOTE_INTERVAL,
        "payment": PAYMENT_TIMEOUT,
        "prices": PRICES,
        "platform": CHOSEN_PLATFORM,
        "expiration": EXPIRATION,
    }
    for name, value in changes.items():
        values[names[name]] = value
    return {key: value for key, value in values.items() if value is not None}


def answer(asked: dict[str, Any], offer: dict[str, Any] = OFFER, agreements: int = 0) -> Any:
    return negotiate(asked, offer, TERMS, NOW, agreements)


def test_the_usual_demand_is_countered_without_the_keys_that_it_leaves_out():
    found = answer(demand())
    assert isinstance(found, Counter)
    assert found.properties == {key: OFFER[key] for key in ("golem.node.id.name", PRICES, ACCEPT_TIMEOUT)}
    assert not found.ready


def test_what_was_countered_may_be_signed_and_the_first_offer_may_not():
    countered = answer(demand()).properties
    assert review(demand(), countered, TERMS, NOW) == Counter(countered, ready=True)
    assert review(demand(), OFFER, TERMS, NOW) == Reject("Negotiations aren't finished.", final=False)


def test_a_demand_that_copies_all_three_values_is_agreed_with_at_once():
    assert answer(demand(interval=120, payment=120)) == Counter(OFFER, ready=True)


def test_a_demand_without_a_payment_platform_is_rejected_for_now():
    assert answer(demand(platform=None)) == Reject("Missing fields: /golem/com/payment/chosen-platform", False)


def test_one_agreement_at_a_time():
    assert answer(demand(), agreements=1) == Reject("No capacity available. Reached Agreements limit: 1", False)


@pytest.mark.parametrize(
    ("expires_in", "accept", "final"),
    [
        (299, 240, True),
        (-1, 240, True),
        (31 * MINUTE, None, False),
        (101 * 365.25 * 86400, 240, False),
    ],
)
def test_expirations_out_of_bounds_are_rejected(expires_in: float, accept: int | None, final: bool):
    found = answer(demand(expires_in, accept=accept, payment=120))
    assert isinstance(found, Reject)
    assert found.message.startswith("Proposal expires at: 2")
    assert found.final is final


def test_the_text_of_a_rejected_expiration():
    found = answer(demand(60))
    assert found.message == (
        "Proposal expires at: 2023-11-14 22:14:20 UTC which is less than 5m or more than 100years from now"
    )


@pytest.mark.parametrize(("expires_in", "accept"), [(5 * MINUTE, 240), (30 * MINUTE, None), (9 * HOUR, 240)])
def test_expirations_at_the_bounds_are_taken(expires_in: float, accept: int | None):
    assert isinstance(answer(demand(expires_in, accept=accept)), Counter)


def test_acceptance_time_outs():
    assert answer(demand(accept=241)) == Reject("DebitNote acceptance deadline should be less than 4m.", final=True)
    assert answer(demand(accept=4)) == Reject("To low DebitNotes timeout: 4s", final=True)
    assert answer(demand(accept=5)).properties[ACCEPT_TIMEOUT] == 5
    assert ACCEPT_TIMEOUT not in answer(demand(accept=None)).properties


def test_a_key_that_was_dropped_cannot_come_back():
    without = answer(demand(accept=None)).properties
    assert isinstance(answer(demand(), without), Silence)
    without = answer(demand()).properties
    assert isinstance(answer(demand(interval=60), without), Silence)


@pytest.mark.parametrize(
    ("name", "key", "what"),
    [
        ("interval", DEBIT_NOTE_INTERVAL, "DebitNote interval"),
        ("payment", PAYMENT_TIMEOUT, "DebitNote payment timeout"),
    ],
)
def test_intervals_in_range_are_adopted_and_others_rejected(name: str, key: str, what: str):
    assert answer(demand(**{name: 77})).properties[key] == 77
    assert answer(demand(**{name: 0})) == Reject(f"Demand {what} 0s not in acceptable range of [1s; 1days]", final=True)
    assert isinstance(answer(demand(**{name: 86401})), Reject)


def test_long_jobs_need_a_payment_time_out():
    found = answer(demand(10 * HOUR))
    assert isinstance(found, Reject)
    assert found.final
    assert PAYMENT_TIMEOUT in found.message
    assert isinstance(answer(demand(10 * HOUR, payment=18000)), Counter)


def test_prices():
    assert answer(demand(prices=[2e-4, 2e-5, 0.0])).properties[PRICES] == [2e-4, 2e-5, 0.0]
    assert answer(demand(prices=[1e-4, 1e-5, 0.0])) == Reject("[0.0001, 1e-05, 0.0] < [0.0001, 2e-05, 0.0]", final=True)
    assert answer(demand(prices=[1e-4])) == Reject("invalid price vector", final=False)


@pytest.mark.parametrize(
    "changes", [{"expiration": None}, {"expiration": "soon"}, {"accept": "240"}, {"interval": 1.5}, {"payment": True}]
)
def test_malformed_demands_are_not_answered(changes: dict[str, Any]):
    assert isinstance(answer(demand(**changes)), Silence)


json_values = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text("1a") | st.lists(st.floats(), max_size=4)
)


@given(
    st.dictionaries(
        st.sampled_from([CHOSEN_PLATFORM, EXPIRATION, ACCEPT_TIMEOUT, DEBIT_NOTE_INTERVAL, PAYMENT_TIMEOUT, PRICES]),
        json_values,
    )
)
def test_no_demand_breaks_a_provider(asked: dict[str, Any]):
    assert isinstance(answer(asked), Counter | Reject | Silence)


@given(
    st.integers(300, 10**6),
    st.none() | st.integers(0, 300),
    st.none() | st.integers(0, 10**5),
    st.none() | st.integers(0, 10**5),
)
def test_a_second_step_of_the_same_demand_always_agrees(
    expires_in: int, accept: int | None, interval: int | None, payment: int | None
):
    asked = demand(expires_in, accept=accept, interval=interval, payment=payment)
    found = answer(asked)
    if isinstance(found, Counter):
        assert answer(asked, found.properties) == Counter(found.properties, ready=True)
