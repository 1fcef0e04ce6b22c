"""Opens the backend that a configuration names."""

from __future__ import annotations

from pathlib import Path

from requestor.accounts import Accounts
from requestor.backends.base import Backend
from requestor.backends.hiring import GolemSettings, HiringConfig
from requestor.backends.local import LocalBackend
from requestor.golem.gftp_program import our_gftp_on_path
from requestor.golem.networks import Connection, required_app_key
from requestor.image.chosen import ChosenImage, choose_image
from requestor.ledger import Ledger

LARGEST_UPLOAD = 256 * 1024**2  # bytes that a provider may send as one file; the largest backbone's update has 172 MB


def image_for(backend: str, environment: dict[str, str]) -> ChosenImage | None:
    """Chooses the image that a backend hires providers for; None for a backend that hires nobody.

    Raises AppKeyMissing and ConfigurationError where variables are missing or wrong; ImageMismatch for an image of
    another version.
    """
    if backend != "golem":
        return None
    required_app_key(environment)
    return choose_image(environment)


def open_backend(
    config: HiringConfig, run: Path, ledger: Ledger, environment: dict[str, str], image: ChosenImage | None
) -> Backend:
    """Opens the backend that a configuration names. Nobody is hired before the backend is entered.

    Args:
        run: the run's folder; its `inbox` takes the files that providers send.
        ledger: the run's ledger, for what providers are paid.
        environment: the variables that say which Golem to use.
        image: what to hire for; None where nobody is hired.
    """
    inbox = run / "inbox"
    if image is None:
        return LocalBackend(config.workers, inbox)
    # yapapi takes seconds to import, and needs to be there for this backend only.
    from requestor.backends.golem import GolemBackend

    settings = GolemSettings(
        connection=Connection.from_environment(environment, config.network),
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
    """Returns what yapapi's `gftp` process needs: the service bus, and our gftp on PATH, as Golem's own takes in files
    of any size."""
    variables = {name: environment[name] for name in ("GSB_URL", "YAGNA_DATADIR") if name in environment}
    return variables | our_gftp_on_path(folder, LARGEST_UPLOAD)
