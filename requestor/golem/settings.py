"""What a run asks of the market, and with whose money."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from requestor.golem.networks import Connection


@dataclass(frozen=True)
class GolemSettings:
    """What to ask of the market.

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
