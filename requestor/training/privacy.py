"""Says what providers see of private photos, and remembers that the owner agreed."""

from __future__ import annotations

from pathlib import Path

from nima.ava import Dataset
from nima.model import find_backbone
from requestor.records import RunFolder
from requestor.setup import golem_environment, is_devnet
from requestor.training.config import RunConfig

_AGREEMENT = "privacy.json"


def privacy_notice(config: RunConfig, folder: RunFolder) -> str | None:
    """Returns the line that tells what providers will see of private photos; None if nobody need be asked.

    Nobody is asked if the photos stay on this machine, are not private, or if the owner agreed in this run before.

    Args:
        config: the configuration of the run.
        folder: its folder.

    Raises `DatasetError` if the description of the data set is malformed.
    """
    if config.backend != "golem" or folder.read(_AGREEMENT) is not None:
        return None
    side = find_backbone(config.backbone).preparation.input_size
    ratings = "no ratings" if config.rounds == 0 else "the ratings of those that they train on"
    return _notice(
        Dataset.read(config.ava),
        f"see and may keep all of them but the hold-out's, squeezed to about {side} x {side} pixels, without names, "
        f"dates and places, and {ratings}",
    )


def evaluation_notice(ava: Path) -> str | None:
    """Returns the line that tells what providers will see of private photos when they predict their ratings.

    Args:
        ava: folder of the data set.

    Returns None if nobody need be asked. Raises `DatasetError` if the description of the data set is malformed.
    """
    seen = "see and may keep those for testing, squeezed to the model's input, without names, dates, places and ratings"
    return _notice(Dataset.read(ava), seen)


def _notice(dataset: Dataset, seen: str) -> str | None:
    """Returns a line that begins with the name of a private data set, and goes on with what providers do (`seen`).

    Returns None if the data set is not private, or if the providers run on this machine, in a devnet.
    """
    if not dataset.private or is_devnet(golem_environment()):
        return None
    return f"The photos of {dataset.name} are private. Providers, whom you do not know, {seen}."


def note_agreement(folder: RunFolder) -> None:
    """Writes to the run's folder that the owner of the photos agreed, so that nobody is asked again."""
    folder.write(_AGREEMENT, {"providers_may_see_photos": True})
