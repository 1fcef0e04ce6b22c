from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from requestor.errors import ConfigurationError
from requestor.money.amounts import Price, parse_glm, show_glm


@pytest.mark.parametrize(
    ("text", "amount"),
    [("2GLM", "2"), ("2", "2"), (" 0.25 tGLM ", "0.25"), (".5glm", "0.5"), ("0.000000000000000001GLM", "1e-18")],
)
def test_amounts_are_read_exactly(text: str, amount: str) -> None:
    assert parse_glm(text) == Decimal(amount)


@pytest.mark.parametrize(
    "text", ["", "GLM", "two", "2EUR", "2 ETH", "-1GLM", "0GLM", "1e3", "2,5GLM", "nan", "inf", "1e-19"]
)
def test_what_is_no_amount_of_glm_is_refused_by_its_text(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"GLM"):
        parse_glm(text)


def test_an_amount_finer_than_the_token_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="18 decimals"):
        parse_glm("0.0000000000000000001")


@given(st.decimals(min_value="1e-18", max_value="1e9", places=18))
def test_reading_an_amount_loses_nothing(amount: Decimal) -> None:
    if amount > 0:
        assert parse_glm(f"{amount:f}GLM") == amount


@pytest.mark.parametrize(
    ("amount", "text"), [("0", "0 GLM"), ("2", "2 GLM"), ("0.00123456789", "0.0012346 GLM"), ("1234.5", "1234.5 GLM")]
)
def test_amounts_are_shown_plainly(amount: str, text: str) -> None:
    assert show_glm(Decimal(amount)) == text


def test_a_price_at_full_load_counts_every_thread_and_the_start_fee() -> None:
    price = Price(start=Decimal("0.1"), wall_second=Decimal("0.001"), cpu_second=Decimal("0.01"))
    assert price.at_full_load(10, threads=4) == Decimal("0.1") + 10 * Decimal("0.041")
    assert price.first_hour(threads=1) == Decimal("0.1") + 3600 * Decimal("0.011")
