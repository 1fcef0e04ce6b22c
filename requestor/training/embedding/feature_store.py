"""Keeps the features that were checked, in one folder for each provider, and gathers them in one file for the training.

So all earlier features of a provider can be deleted as soon as one is found to be wrong.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nima.wire import decode_features, read_shard
from requestor.training.data import Dataset


@dataclass(frozen=True)
class Part:
    """A shard that is to be embedded.

    index: its index among all parts, from 0.
    sha256: hash of the shard, which is its name.
    path: path of the shard on this machine.
    images: number of photos in it.
    client: number of the client whose shard it is, from 0.
    """

    index: int
    sha256: str
    path: Path
    images: int
    client: int = 0


def parts_of(dataset: Dataset) -> list[Part]:
    """Returns the shards of all clients of a data set, in order."""
    shards = [
        (*shard, number)
        for number, client in enumerate(dataset.clients)
        for shard in zip(client.shards, client.paths, client.images, strict=True)
    ]
    return [Part(index, *shard) for index, shard in enumerate(shards)]


class FeatureFile:
    """Features in a file, of which rows are read when they are asked for.

    A mapped file would be simpler, but its pages count as memory of this process: 1.3 GB for all of AVA.

    Args:
        path: a file of float16 `[rows, size]`, which must stay as it is.
        rows: number of photos.
        size: number of features of a photo.
    """

    def __init__(self, path: Path, rows: int, size: int) -> None:
        self._rows = rows
        self._size = size
        self._file = path.open("rb", buffering=0)

    def __len__(self) -> int:
        return self._rows

    def __getitem__(self, rows: NDArray[np.int64], /) -> NDArray[np.float16]:
        """Reads the features of the rows with these indices `[k]`, float16 `[k, size]`. Raises OSError."""
        found = np.empty((len(rows), self._size), np.float16)
        size = found.itemsize * self._size
        for place, row in enumerate(rows.tolist()):
            content = os.pread(self._file.fileno(), size, row * size)
            if len(content) != size:
                raise OSError(errno.EIO, "the file of the features is too short", self._file.name)
            found[place] = np.frombuffer(content, np.float16)
        return found

    def close(self) -> None:
        self._file.close()


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


@contextmanager
def gathered_features(
    parts: Sequence[tuple[Part, Path]], file: Path, size: int
) -> Iterator[tuple[NDArray[np.int64], FeatureFile]]:
    """Yields the ids `[n]` and the features `[n, size]` of all parts; the features are in a file, not in memory.

    For all of AVA and MobileNetV2, the file has 1.3 GB. It exists only while the block runs.

    Args:
        parts: one part or more, each with the file of its features.
        file: the file to write; what an earlier call left there, which was killed, is replaced.
        size: number of features of a photo.

    Raises:
        FeaturesError, ShardError: a file of a part is missing or damaged.
        OSError: the file cannot be written.
    """
    ids = []
    try:
        with file.open("wb") as gathered:
            for part, path in parts:
                ids.append(read_shard(part.path).image_ids)
                decode_features(path, ids[-1], size).tofile(gathered)
        image_ids = np.concatenate(ids)
        with closing(FeatureFile(file, len(image_ids), size)) as features:
            yield image_ids, features
    finally:
        file.unlink(missing_ok=True)
