"""Names the test images of a model by a split with a hash, so that only figures on the same images are compared.

Figures on different splits of AVA cannot be compared: the paper drew 20% at random, idealo drew another 10%, and AVA's
authors published 20,000 ids. A split's hash is the SHA-256 of its test ids, ascending, in decimal, one a line.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nima.errors import NimaError

KNOWN_SPLIT_HASHES = {
    "a82335a3b73a5bf723dbb04c8082a97c0abc20b79d1d23eea1a6299f65643e1a": "official",
    "d0673ad1d7fe121d23ed2f879f5be5e3fe1766927d7b3a18bffa22b15373ca9d": "idealo",
}
"""The test splits on which others publish figures: AVA's `generic_test.jpgl`, and idealo's 25,551 ids."""


class SplitError(NimaError):
    """A list of ids is malformed or not the expected one, or two splits cannot be compared."""


@dataclass(frozen=True)
class Split:
    """The test images of a split.

    name: name of the split.
    image_ids: ids of the test images, int64 `[n]`, ascending, n ≥ 1.
    """

    name: str
    image_ids: NDArray[np.int64]

    @classmethod
    def of(cls, image_ids: ArrayLike, name: str) -> Split:
        """Makes a split of these ids; a published split gets its published name.

        Raises `SplitError` if there are no ids.
        """
        split = cls(name, np.unique(np.asarray(image_ids, dtype=np.int64)))
        if len(split.image_ids) == 0:
            raise SplitError(f"The split {name!r} has no images.")
        return cls(KNOWN_SPLIT_HASHES.get(split.hash, name), split.image_ids)

    @cached_property
    def hash(self) -> str:
        """Returns the SHA-256 of the test ids (ascending, in decimal, one a line) as 64 hexadecimal digits."""
        return hashlib.sha256("\n".join(map(str, self.image_ids.tolist())).encode()).hexdigest()

    def as_json(self) -> dict[str, str]:
        """Returns the fields that every model and every evaluation stores."""
        return {"name": self.name, "hash": self.hash}

    def __str__(self) -> str:
        return f"{self.name!r} ({len(self.image_ids):,} images, {self.hash[:12]})"


def check_same_split(name: str, hash: str, other_name: str, other_hash: str) -> None:
    """Raises `SplitError` unless two splits, each given by name and hash, are the same; its message names both."""
    if hash != other_hash:
        raise SplitError(
            f"Figures on the split {name!r} ({hash[:12]}) do not compare with figures on {other_name!r} "
            f"({other_hash[:12]}): they were taken on other photos. Evaluate both on the same list of ids."
        )


def random_split(image_ids: ArrayLike, seed: int, test_share: float) -> Split:
    """Draws a share of the ids as test ids, at least one.

    Ids are ordered by a SHA-256 of seed and id, and the first of them are taken. So the draw does not depend on a
    library's random numbers, and hardly changes if ids are added or removed. Raises `SplitError` unless `test_share`
    lies between 0 and 1 and there are ids.
    """
    ids = np.unique(np.asarray(image_ids, dtype=np.int64)).tolist()
    if not 0 < test_share < 1:
        raise SplitError(f"The share of test images must lie between 0 and 1, not at {test_share}.")
    drawn = sorted(ids, key=lambda image_id: hashlib.sha256(f"{seed}:{image_id}".encode()).digest())
    return Split.of(drawn[: max(1, round(test_share * len(ids)))], f"random-{seed}")


def read_image_ids(path: Path) -> NDArray[np.int64]:
    """Reads a file of ids, int64 `[n]` in the file's order: one a line, or idealo's JSON (objects with `image_id`).

    Raises `SplitError` if the file is missing or malformed; the message names the line.
    """
    try:
        content = path.read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise SplitError(f"{path}: cannot read the list of ids ({error.strerror}).") from error
    ids = _from_json(path, content) if path.suffix == ".json" else _from_lines(path, content)
    return np.array(ids, dtype=np.int64)


def read_split(path: Path, expected: str | None = None) -> Split:
    """Reads the split whose test ids a file lists, in the formats of `read_image_ids`.

    Raises `SplitError` if the file is missing, malformed or empty, or is not the published split that `expected` names.
    """
    split = Split.of(read_image_ids(path), path.stem)
    if expected is not None and split.name != expected:
        raise SplitError(
            f"{path} is not the {expected} test split: it has {len(split.image_ids):,} ids with the hash "
            f"{split.hash[:12]}. Get the list from its publisher."
        )
    return split


def write_image_ids(path: Path, image_ids: Iterable[int]) -> None:
    """Writes ids to a file, one a line, in the given order. Raises `SplitError` if the file cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{image_id}\n" for image_id in image_ids), encoding="ascii")
    except OSError as error:
        raise SplitError(f"{path}: cannot write the list of ids ({error.strerror}).") from error


def _from_lines(path: Path, content: str) -> list[int]:
    ids = []
    for number, line in enumerate(content.splitlines(), start=1):
        text = line.strip().removesuffix(".jpg")
        if not text:
            continue
        if not (text.isascii() and text.isdigit() and len(text) <= 18):  # 18 digits fit in int64
            raise SplitError(f"{path}: line {number}: {text[:20]!r} is no image id.")
        ids.append(int(text))
    return ids


def _from_json(path: Path, content: str) -> list[int]:
    try:
        return _from_lines(path, "\n".join(str(row["image_id"]) for row in json.loads(content)))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise SplitError(f"{path}: this is no JSON list of objects with an image_id.") from error
