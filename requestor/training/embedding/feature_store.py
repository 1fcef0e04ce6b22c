"""Keeps the features that were checked, in one folder for each provider.

So all earlier features of a provider can be deleted as soon as one is found to be wrong.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Part:
    """A shard that is to be embedded.

    index: its index among all parts, from 0.
    sha256: hash of the shard, which is its name.
    path: path of the shard on this machine.
    images: number of photos in it.
    """

    index: int
    sha256: str
    path: Path
    images: int


class KeptFeatures:
    """Keeps features in a folder, as `<provider id>/<hash of the shard>.safetensors`.

    The ids come from the daemon, so providers cannot choose them.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def of(self, shard: str) -> Path | None:
        """Returns the file with a shard's features; None if none are kept."""
        return next(self._folder.glob(f"*/{shard}.safetensors"), None)

    def keep(self, provider_id: str, shard: str, file: Path) -> None:
        """Moves a file with features to its place."""
        (self._folder / provider_id).mkdir(exist_ok=True)
        file.replace(self._folder / provider_id / f"{shard}.safetensors")

    def forget(self, provider_id: str) -> None:
        """Deletes all features that a provider sent."""
        shutil.rmtree(self._folder / provider_id, ignore_errors=True)
