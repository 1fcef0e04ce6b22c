"""Reads and writes shards: files of some hundred small photos with their votes, each named by the hash of its content.

A shard is a safetensors file `<sha256>.safetensors` with

    jpegs      uint8  [bytes]    the images, one after another: WebPs, JPEGs, or PNGs if no pixel value may change
    offsets    int64  [n + 1]    the first byte of each image, and the end of the last
    image_ids  int64  [n]        AVA's ids, all different
    votes      int32  [n, 10]    counts of the ratings 1 to 10; absent if the photos are only to be scored

Equal contents give equal bytes. Reading trusts nothing: every size, type and range is checked before use.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from nima.errors import NimaError
from nima.ratings import BUCKETS
from nima.safe_io import FileError, check_size, write_atomically

MAX_BYTES = 256 * 1024 * 1024
"""The largest size of a shard: far above the 10 MB that a shard should have, and small enough for memory."""

_START = re.compile(rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|RIFF.{4}WEBPVP8 ", re.DOTALL)
_START_BYTES = 16  # number of bytes of the longest start
_IMAGES_AT_A_TIME = 32  # number of images that an iteration reads together


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
    """A shard, whose images may lie in a file.

    image_ids: int64 `[n]`, all different.
    votes: int32 `[n, 10]`, counts of the ratings 1 to 10; None if there are none.
    jpegs: the n encoded images, each a WebP, a JPEG or a PNG. If they lie in a file, they are read when they are
        asked for.
    """

    image_ids: NDArray[np.int64]
    votes: NDArray[np.int32] | None
    jpegs: Sequence[bytes]

    def __len__(self) -> int:
        return len(self.jpegs)


class StoredImages(Sequence[bytes]):
    """The encoded images of a shard on disk, which are read when they are asked for: one, a slice, or one by one.

    The file is not held open, so that a job may have any number of shards. Raises `ShardError` if the file has been
    removed or changed since it was checked.

    Args:
        path: a shard that was checked.
        offsets: its offsets, int64 `[n + 1]`.
    """

    def __init__(self, path: Path, offsets: NDArray[np.int64]) -> None:
        self._path = path
        self._offsets = offsets

    def __len__(self) -> int:
        return len(self._offsets) - 1

    @overload
    def __getitem__(self, index: int) -> bytes: ...

    @overload
    def __getitem__(self, index: slice) -> list[bytes]: ...

    def __getitem__(self, index: int | slice) -> bytes | list[bytes]:
        rows = range(len(self))[index]
        if isinstance(rows, int):
            return self._read([rows])[0]
        return self._read(rows)

    def __iter__(self) -> Iterator[bytes]:
        for start in range(0, len(self), _IMAGES_AT_A_TIME):
            yield from self[start : start + _IMAGES_AT_A_TIME]

    def _read(self, rows: Sequence[int]) -> list[bytes]:
        with _opened(self._path) as file:
            data = file.get_slice("jpegs")
            return [data[self._offsets[row] : self._offsets[row + 1]].tobytes() for row in rows]


def image_places(shards: Sequence[Shard]) -> NDArray[np.int64]:
    """Returns the place of each image of several shards, int64 `[n, 2]`: index of the shard, and row in the shard."""
    places = [
        np.stack([np.full(len(shard), index), np.arange(len(shard))], axis=1) for index, shard in enumerate(shards)
    ]
    return np.concatenate(places).astype(np.int64)


def write_shard(folder: Path, image_ids: ArrayLike, votes: ArrayLike | None, jpegs: Sequence[bytes]) -> ShardInfo:
    """Writes a shard into `folder`, atomically, under the hash of its content.

    Args:
        folder: existing folder.
        image_ids: ids of the photos, integers `[n]`, all different.
        votes: counts of the ratings 1 to 10, integers `[n, 10]`; None for photos without ratings.
        jpegs: n encoded images, n ≥ 1, each a WebP, a JPEG or a PNG.

    Raises:
        ShardError: the arguments do not fit together, the shard would be larger than `MAX_BYTES` (256 MiB), or the file
            cannot be written.
    """
    tensors = {"image_ids": np.asarray(image_ids, dtype=np.int64), "offsets": np.zeros(len(jpegs) + 1, dtype=np.int64)}
    np.cumsum([len(jpeg) for jpeg in jpegs], out=tensors["offsets"][1:])
    if votes is not None:
        tensors["votes"] = np.ascontiguousarray(votes, dtype=np.int32)
    _check(tensors, int(tensors["offsets"][-1]))
    _check_starts(jpegs)
    content = save({"jpegs": np.frombuffer(b"".join(jpegs), dtype=np.uint8), **tensors})
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
    """Reads the shard of `path`; its images stay in the file until they are asked for.

    Raises `ShardError` if the file is missing, is larger than 256 MiB, or breaks the format in any way.
    """
    with _opened(path) as file:
        names = set(file.keys())
        if names - {"votes"} != {"jpegs", "offsets", "image_ids"}:
            raise ShardError(f"{path} is not a shard: it holds the tensors {', '.join(sorted(names))}.")
        images = file.get_slice("jpegs")
        tensors = {name: file.get_tensor(name) for name in names - {"jpegs"}}
        try:
            if images.get_dtype() != "U8" or len(images.get_shape()) != 1:
                raise ShardError("jpegs is no sequence of bytes.")
            _check(tensors, images.get_shape()[0])
            offsets = tensors["offsets"]
            _check_starts(
                images[start : min(start + _START_BYTES, stop)].tobytes() for start, stop in pairwise(offsets)
            )
        except ShardError as error:
            raise ShardError(f"{path} is not a shard: {error}") from None
    return Shard(tensors["image_ids"], tensors.get("votes"), StoredImages(path, offsets))


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Yields the safetensors file at `path`; turns all errors of its header and of its tensors into `ShardError`."""
    try:
        with safe_open(check_size(path, MAX_BYTES), framework="numpy") as file:
            yield file
    except FileError as error:
        raise ShardError(str(error)) from error
    # KeyError: a tensor that is missing; the others: types that numpy lacks
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ShardError(f"{path} is not a shard: it is no safetensors file ({error}).") from error


def _check(tensors: Mapping[str, NDArray[Any]], size: int) -> None:
    """Checks ids, offsets and votes, which belong to `size` bytes of images. Raises `ShardError`."""
    offsets = _typed(tensors["offsets"], "offsets", np.int64)
    image_ids = _typed(tensors["image_ids"], "image_ids", np.int64)
    n = image_ids.size
    if n == 0 or image_ids.shape != (n,) or offsets.shape != (n + 1,):
        raise ShardError("the numbers of images, ids and offsets differ, or are zero.")
    if offsets[0] != 0 or offsets[-1] != size or (np.diff(offsets) <= 0).any():
        raise ShardError("the offsets do not cut the data into images.")
    if np.unique(image_ids).size != n:
        raise ShardError("an image id stands twice.")
    if "votes" not in tensors:
        return
    votes = _typed(tensors["votes"], "votes", np.int32)
    if votes.shape != (n, BUCKETS) or (votes < 0).any() or (votes.sum(axis=1, dtype=np.int64) == 0).any():
        raise ShardError(f"the votes are not {BUCKETS} counts for each image, with at least one vote.")


def _check_starts(images: Iterable[bytes]) -> None:
    if not all(_START.match(image) for image in images):
        raise ShardError("an image is neither a plain lossy WebP nor a JPEG nor a PNG.")


def _typed(array: NDArray[Any], name: str, dtype: type[np.generic]) -> NDArray[Any]:
    if array.dtype != dtype:
        raise ShardError(f"{name} has the type {array.dtype} instead of {np.dtype(dtype)}.")
    return array
