"""Reads and writes shards: files of some hundred small photos with their votes, each named by the hash of its content.

A shard is a safetensors file `<sha256>.safetensors` with

    jpegs      uint8  [bytes]    the images, one after another: JPEGs, or PNGs if no pixel value may change
    offsets    int64  [n + 1]    the first byte of each image, and the end of the last
    image_ids  int64  [n]        AVA's ids, all different
    votes      int32  [n, 10]    counts of the ratings 1 to 10; absent if the photos are only to be scored

Equal contents give equal bytes. Reading trusts nothing: every size, type and range is checked before use.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from nima.errors import NimaError
from nima.ratings import BUCKETS
from nima.safe_io import FileError, read_bounded, write_atomically

MAX_BYTES = 256 * 1024 * 1024
"""The largest size of a shard: far above the 10 MB that a shard should have, and small enough for memory."""

_STARTS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")


class ShardError(NimaError):
    """A file is not a shard, or images, ids and votes do not make one."""


@dataclass(frozen=True)
class ShardInfo:
    """A shard on disk.

    sha256: SHA-256 of its content, which is its name.
    path: path of its file.
    images: number of its images.
    bytes: its size in bytes.
    """

    sha256: str
    path: Path
    images: int
    bytes: int


@dataclass(frozen=True)
class Shard:
    """A shard in memory.

    image_ids: int64 `[n]`, all different.
    votes: int32 `[n, 10]`, counts of the ratings 1 to 10; None if there are none.
    jpegs: the n encoded images, each a JPEG or a PNG.
    """

    image_ids: NDArray[np.int64]
    votes: NDArray[np.int32] | None
    jpegs: list[bytes]

    def __len__(self) -> int:
        return len(self.jpegs)


def write_shard(folder: Path, image_ids: ArrayLike, votes: ArrayLike | None, jpegs: Sequence[bytes]) -> ShardInfo:
    """Writes a shard into `folder`, atomically, under the hash of its content.

    Args:
        folder: existing folder.
        image_ids: ids of the photos, integers `[n]`, all different.
        votes: counts of the ratings 1 to 10, integers `[n, 10]`; None for photos without ratings.
        jpegs: n encoded images, n ≥ 1, each a JPEG or a PNG.

    Raises:
        ShardError: the arguments do not fit together, the shard would be larger than `MAX_BYTES` (256 MiB), or the file
            cannot be written.
    """
    offsets = np.zeros(len(jpegs) + 1, dtype=np.int64)
    np.cumsum([len(jpeg) for jpeg in jpegs], out=offsets[1:])
    tensors: dict[str, NDArray[Any]] = {
        "jpegs": np.frombuffer(b"".join(jpegs), dtype=np.uint8),
        "offsets": offsets,
        "image_ids": np.asarray(image_ids, dtype=np.int64),
    }
    if votes is not None:
        tensors["votes"] = np.ascontiguousarray(votes, dtype=np.int32)
    _unpack(tensors)
    content = save(tensors)
    if len(content) > MAX_BYTES:
        raise ShardError(f"A shard of {len(jpegs)} images is larger than {MAX_BYTES} bytes; make more shards.")
    sha256 = hashlib.sha256(content).hexdigest()
    path = folder / f"{sha256}.safetensors"
    try:
        write_atomically(path, content)
    except OSError as error:
        raise ShardError(f"A shard could not be written to {folder}: {error.strerror}.") from error
    return ShardInfo(sha256, path, len(jpegs), len(content))


def read_shard(path: Path) -> Shard:
    """Reads the shard of `path`.

    Raises `ShardError` if the file is missing, is larger than 256 MiB, or breaks the format in any way.
    """
    try:
        tensors = load(read_bounded(path, MAX_BYTES))
    except FileError as error:
        raise ShardError(str(error)) from error
    except (SafetensorError, KeyError, TypeError, ValueError) as error:  # KeyError: a type that numpy lacks
        raise ShardError(f"{path} is not a shard: it is no safetensors file ({error}).") from error
    try:
        return _unpack(tensors)
    except ShardError as error:
        raise ShardError(f"{path} is not a shard: {error}") from None


def _unpack(tensors: dict[str, NDArray[Any]]) -> Shard:
    keys = tensors.keys()
    if keys - {"votes"} != {"jpegs", "offsets", "image_ids"}:
        raise ShardError(f"it holds the tensors {', '.join(sorted(keys))}.")
    jpegs = _typed(tensors["jpegs"], "jpegs", np.uint8)
    offsets = _typed(tensors["offsets"], "offsets", np.int64)
    image_ids = _typed(tensors["image_ids"], "image_ids", np.int64)
    votes = _typed(tensors["votes"], "votes", np.int32) if "votes" in tensors else None

    n = image_ids.size
    if n == 0 or image_ids.shape != (n,) or offsets.shape != (n + 1,) or jpegs.ndim != 1:
        raise ShardError("the numbers of images, ids and offsets differ, or are zero.")
    if offsets[0] != 0 or offsets[-1] != jpegs.size or (np.diff(offsets) <= 0).any():
        raise ShardError("the offsets do not cut the data into images.")
    if np.unique(image_ids).size != n:
        raise ShardError("an image id stands twice.")
    if votes is not None and (
        votes.shape != (n, BUCKETS) or (votes < 0).any() or (votes.sum(axis=1, dtype=np.int64) == 0).any()
    ):
        raise ShardError(f"the votes are not {BUCKETS} counts for each image, with at least one vote.")
    data = jpegs.tobytes()
    images = [data[start:stop] for start, stop in pairwise(offsets)]
    if not all(image.startswith(_STARTS) for image in images):
        raise ShardError("an image is neither a JPEG nor a PNG.")
    return Shard(image_ids, votes, images)


def _typed(array: NDArray[Any], name: str, dtype: type[np.generic]) -> NDArray[Any]:
    if array.dtype != dtype:
        raise ShardError(f"{name} has the type {array.dtype} instead of {np.dtype(dtype)}.")
    return array
