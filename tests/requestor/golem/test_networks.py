"""The Golem that the environment names."""

from __future__ import annotations

import pytest

from requestor.errors import AppKeyMissing
from requestor.golem.networks import TOKEN_OF_NETWORK, GolemConnection, chosen_network, chosen_subnet, is_real_money

KEY = {"YAGNA_APPKEY": "key"}


def test_without_variables_it_is_the_public_test_network_on_this_machine() -> None:
    assert GolemConnection.from_environment(KEY) == GolemConnection("http://127.0.0.1:7465", "key", "hoodi")
    assert chosen_subnet({}) == "public"
    assert not is_real_money(chosen_network({}))


@pytest.mark.parametrize("name", ["YAGNA_API_URL", "YAGNA_PAYMENT_NETWORK"])
def test_an_empty_variable_is_none(name: str) -> None:
    assert GolemConnection.from_environment({**KEY, name: ""}) == GolemConnection.from_environment(KEY)


def test_variables_are_used_and_options_go_before_them() -> None:
    environment = {**KEY, "YAGNA_PAYMENT_NETWORK": "polygon", "YAGNA_SUBNET": "mine"}
    assert GolemConnection.from_environment(environment).platform == "erc20-polygon-glm"
    assert GolemConnection.from_environment(environment, "amoy").platform == "erc20-amoy-tglm"
    assert (chosen_subnet(environment), chosen_subnet(environment, "theirs")) == ("mine", "theirs")


def test_a_slash_at_the_end_of_the_url_makes_no_difference() -> None:
    here = {**KEY, "YAGNA_API_URL": "http://127.0.0.1:7465"}
    assert GolemConnection.from_environment({**KEY, "YAGNA_API_URL": "http://127.0.0.1:7465/"}) == (
        GolemConnection.from_environment(here)
    )


def test_a_missing_app_key_is_refused_unless_it_is_only_looked_for() -> None:
    with pytest.raises(AppKeyMissing, match="set YAGNA_APPKEY"):
        GolemConnection.from_environment({})
    assert GolemConnection.from_environment({}, require_app_key=False).app_key == ""


def test_real_money_is_what_moves_glm() -> None:
    assert {network for network in TOKEN_OF_NETWORK if is_real_money(network)} == {"polygon", "mainnet"}
