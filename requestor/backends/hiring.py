"""Whom a run hires, for how much, and on which Golem."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from requestor.errors import ConfigurationError
from requestor.golem.networks import TOKENS, Connection

BackendName = Literal["golem", "local"]


@dataclass(frozen=True, kw_only=True)
class HiringConfig:
    """Who computes, and for how much.

    Attributes:
        backend: Golem, or subprocesses of this machine.
        workers: providers that work at a time.
        budget: GLM that may leave the wallet, at most.
        max_price: GLM that the first hour of one provider may cost at full load.
        network: payment network.
        subnet: Golem subnet whose providers are asked.

    Raises ConfigurationError for a network that does not exist.
    """

    backend: BackendName
    workers: int
    budget: Decimal
    max_price: Decimal
    network: str
    subnet: str

    def __post_init__(self) -> None:
        if self.network not in TOKENS:
            raise ConfigurationError(f"--network {self.network}: not one of {', '.join(TOKENS)}.")


@dataclass(frozen=True)
class GolemSettings:
    """What the Golem backend asks of the market, and with whose money.

    Attributes:
        connection: the requestor's daemon and payment network.
        subnet: only providers of this subnet.
        image: the task package, `hash:sha3:<hash>:<url>`.
        image_checked: whether its labels are known to be of this version.
        image_models: SHA-256 of models that lie in the image, so that nobody sends them.
        python: absolute path of the image's Python, which can import `provider_image`.
        max_price: GLM that the first hour of one provider may cost at full load, start fee included.
        environment: variables for yapapi's own `gftp` process (GSB_URL, PATH).
    """

    connection: Connection
    subnet: str
    image: str
    image_checked: bool
    image_models: tuple[str, ...]
    python: str
    max_price: Decimal
    environment: Mapping[str, str]
