"""Defines the options about who computes for a run, at what price and on which Golem; opens the backend for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Literal

from requestor.backends.base import Backend
from requestor.backends.hired import GolemSettings
from requestor.backends.local import LocalBackend
from requestor.errors import ConfigurationError
from requestor.golem import TOKEN_OF_NETWORK, GolemConnection, OfferFilter, required_app_key
from requestor.golem.gftp import our_gftp_on_path
from requestor.image import TASK_MEMORY_GIB, ChosenImage, choose_image
from requestor.money import Accounts
from requestor.records import Ledger

BackendName = Literal["golem", "local"]
LARGEST_UPLOAD = 256 * 1024**2  # bytes that a provider may send as one file; the largest backbone's update has 172 MB


@dataclass(frozen=True, kw_only=True)
class HiringConfig:
    """Holds the options about who computes, and at what price.

    Attributes:
        backend: `golem` for hired providers, `local` for subprocesses of this machine.
        workers: number of providers that work at the same time.
        budget: the most GLM that may leave the wallet.
        max_price: the most GLM that the first hour of one provider may cost at full load.
        network: payment network.
        subnet: only providers of this Golem subnet are hired.

    Raises ConfigurationError if the network does not exist.
    """

    backend: BackendName
    workers: int
    budget: Decimal
    max_price: Decimal
    network: str
    subnet: str

    def __post_init__(self) -> None:
        if self.network not in TOKEN_OF_NETWORK:
            raise ConfigurationError(f"--network {self.network}: not one of {', '.join(TOKEN_OF_NETWORK)}.")


def image_for(backend: str, environment: dict[str, str]) -> ChosenImage | None:
    """Chooses the image that hired providers run; returns None for a backend that hires nobody.

    Raises AppKeyMissing or ConfigurationError if variables are missing or wrong, and ImageMismatch if the image is of
    another version.
    """
    if backend != "golem":
        return None
    required_app_key(environment)
    return choose_image(environment)


def offer_filter(
    connection: GolemConnection, subnet: str, max_price: Decimal | None, is_banned: Callable[[str], bool]
) -> OfferFilter:
    """Returns the filter of offers with which a run hires, for commands that show offers and prices.

    Args:
        connection: the daemon and the payment network.
        subnet: the Golem subnet.
        max_price: the most GLM that the first hour of one provider may cost at full load; None for any price.
        is_banned: returns True for the id of a provider that gets no work.
    """
    return OfferFilter(subnet, connection.platform, TASK_MEMORY_GIB, max_price, is_banned)


def open_backend(
    config: HiringConfig, run: Path, ledger: Ledger, environment: dict[str, str], image: ChosenImage | None
) -> Backend:
    """Opens the backend that a configuration names. Nobody is hired before the backend is entered.

    Args:
        config: the options about who computes, and at what price.
        run: the run's folder; its folder `inbox` takes the files that providers send.
        ledger: the run's ledger, for agreements, tasks and bills.
        environment: the environment variables that name the Golem to use.
        image: the image that hired providers run; None for a backend that hires nobody.
    """
    inbox = run / "inbox"
    if image is None:
        return LocalBackend(config.workers, inbox)
    # yapapi takes seconds to import, and only this backend needs it.
    from requestor.backends.golem import GolemBackend

    settings = GolemSettings(
        connection=GolemConnection.from_environment(environment, config.network),
        subnet=config.subnet,
        image=image.package,
        image_checked=image.info is not None,
        image_models=image.models,
        python=image.python,
        max_price=config.max_price,
        environment=_gftp_environment(environment, run / "bin"),
    )
    return GolemBackend(settings, Accounts(config.budget, ledger), config.workers, inbox)


def _gftp_environment(environment: dict[str, str], folder: Path) -> dict[str, str]:
    """Returns the environment variables for yapapi's `gftp` process: those of the service bus, and a PATH.

    Our own gftp comes first in this PATH, because Golem's accepts files of any size.
    """
    variables = {name: environment[name] for name in ("GSB_URL", "YAGNA_DATADIR") if name in environment}
    return variables | our_gftp_on_path(folder, LARGEST_UPLOAD)
