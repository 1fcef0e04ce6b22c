"""The shards to be embedded, and the features that were checked and are kept, by who computed them.

What a liar sent before it was caught is deleted, too.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Part:
    """A shard, and its place among them all."""

    index: int
    sha256: str
    path: Path
    images: int


class KeptFeatures:
    """A folder with `<provider id>/<hash of the shard>.safetensors`.

    A provider's id is the daemon's word, no name that somebody chose for himself.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def of(self, shard: str) -> Path | None:
        """The file of a shard's features; None while nobody has sent any that were good."""
        return next(self._folder.glob(f"*/{shard}.safetensors"), None)

    def keep(self, provider_id: str, shard: str, file: Path) -> None:
        """Move a file to its place."""
        (self._folder / provider_id).mkdir(exist_ok=True)
        file.replace(self._folder / provider_id / f"{shard}.safetensors")

    def forget(self, provider_id: str) -> None:
        """Delete all that a provider sent."""
        shutil.rmtree(self._folder / provider_id, ignore_errors=True)
