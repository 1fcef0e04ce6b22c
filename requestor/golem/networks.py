"""Chooses the Golem that a command uses: payment network, subnet, and the address of the requestor's daemon.

The networks are those of yagna's erc20 driver. The environment variables are yagna's and yapapi's own; only this module
has their default values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from requestor.errors import AppKeyMissing

# network → the token that is paid with there; test GLM has no value
TOKEN_OF_NETWORK = {
    "hoodi": "tglm",
    "polygon": "glm",
    "mainnet": "glm",
    "amoy": "tglm",
    "sepolia": "tglm",
    "holesky": "tglm",
}
PAYMENT_DRIVER = "erc20"
DEFAULT_API_URL = "http://127.0.0.1:7465"
DEFAULT_NETWORK = "hoodi"
DEFAULT_SUBNET = "public"


def is_real_money(network: str) -> bool:
    """Tells whether payments on `network` move GLM that has a value."""
    return TOKEN_OF_NETWORK.get(network) == "glm"


def payment_platform(network: str, driver: str = PAYMENT_DRIVER) -> str:
    """Returns the payment platform's name, such as `erc20-hoodi-tglm`. Raises KeyError for an unknown network."""
    return f"{driver}-{network}-{TOKEN_OF_NETWORK[network]}"


def chosen_network(environment: Mapping[str, str], option: str | None = None) -> str:
    """Returns the payment network: the option's, else that of YAGNA_PAYMENT_NETWORK, else the default.

    Its name is not checked.
    """
    return option or environment.get("YAGNA_PAYMENT_NETWORK") or DEFAULT_NETWORK


def chosen_subnet(environment: Mapping[str, str], option: str | None = None) -> str:
    """Returns the Golem subnet: the option's, else that of YAGNA_SUBNET, else the default."""
    return option or environment.get("YAGNA_SUBNET") or DEFAULT_SUBNET


def required_app_key(environment: Mapping[str, str]) -> str:
    """Returns the value of YAGNA_APPKEY. Raises AppKeyMissing if it is not set."""
    if app_key := environment.get("YAGNA_APPKEY"):
        return app_key
    raise AppKeyMissing(
        "No app key: set YAGNA_APPKEY (make a key with `yagna app-key create nima-golem`), or start a local "
        "Golem with `nima-golem devnet up --detach`."
    )


@dataclass(frozen=True)
class GolemConnection:
    """The daemon's address and the way to pay: all that a run needs to know about Golem.

    Attributes:
        api_url: URL of the daemon's REST interface; a slash at the end is removed.
        app_key: the daemon's key for one of its identities.
        network: payment network, a key of `TOKEN_OF_NETWORK`.
        driver: payment driver.
    """

    api_url: str
    app_key: str
    network: str
    driver: str = PAYMENT_DRIVER

    def __post_init__(self) -> None:
        object.__setattr__(self, "api_url", self.api_url.rstrip("/"))  # paths begin with a slash

    @classmethod
    def from_environment(
        cls, environment: Mapping[str, str], network: str | None = None, *, require_app_key: bool = True
    ) -> GolemConnection:
        """Returns the connection that YAGNA_API_URL, YAGNA_APPKEY and YAGNA_PAYMENT_NETWORK describe.

        Args:
            network: used instead of YAGNA_PAYMENT_NETWORK.
            require_app_key: if False, a missing app key becomes the empty one, which no daemon knows.

        Raises:
            AppKeyMissing: YAGNA_APPKEY is not set, and it is required.
        """
        return cls(
            api_url=environment.get("YAGNA_API_URL") or DEFAULT_API_URL,
            app_key=required_app_key(environment) if require_app_key else environment.get("YAGNA_APPKEY", ""),
            network=chosen_network(environment, network),
        )

    @property
    def platform(self) -> str:
        """Returns the payment platform's name, such as `erc20-hoodi-tglm`."""
        return payment_platform(self.network, self.driver)
