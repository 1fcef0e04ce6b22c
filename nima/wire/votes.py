"""Reads and writes votes: a file with the ratings of the photos of one shard, named by the hash of its content.

Shards hold photos only. So a provider that computes features never sees a rating, and the same shard serves a provider
that trains: its job also names the file of votes, a safetensors file `<sha256>.safetensors` with

    image_ids  int64  [n]        the ids of the shard's photos, in the same order
    votes      int32  [n, 10]    counts of the ratings 1 to 10, at least one vote a photo

Equal contents give equal bytes. Reading trusts nothing: every size, type and range is checked before use.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from nima.errors import NimaError
from nima.ratings import BUCKETS
from nima.safe_io import FileError, read_bounded, write_atomically

_BYTES_A_PHOTO = 8 + 4 * BUCKETS
_HEADER_BYTES = 4096


class VotesError(NimaError):
    """A file does not hold the votes of a shard, or cannot be written."""


def write_votes(folder: Path, image_ids: ArrayLike, votes: ArrayLike) -> str:
    """Writes the votes of a shard into `folder`, atomically, and returns the SHA-256 that is the file's name.

    Args:
        folder: existing folder.
        image_ids: ids of the shard's photos, integers `[n]`, n ≥ 1.
        votes: counts of the ratings 1 to 10, integers `[n, 10]`.

    Raises:
        VotesError: the file cannot be written.
    """
    content = save(
        {
            "image_ids": np.ascontiguousarray(image_ids, dtype=np.int64),
            "votes": np.ascontiguousarray(votes, dtype=np.int32),
        }
    )
    sha256 = hashlib.sha256(content).hexdigest()
    try:
        write_atomically(folder / f"{sha256}.safetensors", content)
    except OSError as error:
        raise VotesError(f"Votes could not be written to {folder}: {error.strerror}.") from error
    return sha256


def read_votes(path: Path, image_ids: NDArray[np.int64]) -> NDArray[np.int32]:
    """Reads the votes of a shard, int32 `[n, 10]`.

    Args:
        path: the file.
        image_ids: the ids of the shard's photos, int64 `[n]`; the file must name the same ones in the same order.

    Raises:
        VotesError: the file is missing or larger than these votes can be, breaks the format, or is of other photos.
    """
    images = len(image_ids)
    try:
        tensors = load(read_bounded(path, images * _BYTES_A_PHOTO + _HEADER_BYTES))
    except FileError as error:
        raise VotesError(str(error)) from error
    except (SafetensorError, KeyError, TypeError, ValueError) as error:  # KeyError: a type that numpy lacks
        raise VotesError(f"{path} holds no votes: it is no safetensors file ({error}).") from error
    if tensors.keys() != {"image_ids", "votes"}:
        raise VotesError(f"{path} holds no votes: its tensors are {', '.join(sorted(tensors))}.")
    named, votes = tensors["image_ids"], tensors["votes"]
    if named.dtype != np.int64 or not np.array_equal(named, image_ids):
        raise VotesError(f"{path} holds the votes of other photos than those of the shard.")
    if votes.dtype != np.int32 or votes.shape != (images, BUCKETS):
        raise VotesError(f"{path} does not hold {BUCKETS} counts for each photo.")
    if (votes < 0).any() or (votes.sum(axis=1, dtype=np.int64) == 0).any():
        raise VotesError(f"{path} holds a negative count, or a photo without a vote.")
    return votes
