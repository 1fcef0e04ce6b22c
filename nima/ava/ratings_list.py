"""Reads AVA, the Aesthetic Visual Analysis data set: its list of ratings, and the paths of its photos.

    FOLDER/AVA.txt           one image a line: index, image id, ten vote counts, two tags, challenge
    FOLDER/images/<id>.jpg   at most 800 pixels on the long side

Source: Murray, Marchesotti and Perronnin, "AVA: A Large-Scale Database for Aesthetic Visual Analysis",
CVPR 2012.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from nima.errors import NimaError

COLUMNS = 15
VOTES = slice(2, 12)

# Photos of AVA that are corrupt or missing in every known copy of the data set.
KNOWN_BAD_IDS = frozenset({440774, 179118, 371434, 277832, 230701, 729377})

_WHOLE_NUMBER = re.compile(r"[+-]?[0-9]+")
_DIGITS = 25  # a number is cut to so many digits, which are too many for any column and still fast to convert
_SHOWN = 5  # largest number of malformed lines that one message quotes
_INT32_MAX = 2**31 - 1


class RatingsError(NimaError):
    """An AVA list is missing or malformed, or lacks an image; the message names the file and the lines."""


@dataclass(frozen=True)
class Ratings:
    """The rows of an AVA list, in the order of the file.

    image_ids: int64 `[n]`, unique.
    votes: int32 `[n, 10]`, counts of the ratings 1 to 10; at least one vote an image.

    Tags and challenges are checked when a list is read, and not kept.
    """

    image_ids: NDArray[np.int64]
    votes: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.image_ids)

    def known(self, image_ids: ArrayLike) -> NDArray[np.bool_]:
        """Returns True for each of `image_ids` `[m]` that has ratings: bool `[m]`."""
        return np.isin(np.asarray(image_ids, dtype=np.int64), self.image_ids)

    def select(self, image_ids: ArrayLike) -> Ratings:
        """Returns the rows of `image_ids` `[m]`, in that order. Raises `RatingsError` if an id has no ratings."""
        wanted = np.asarray(image_ids, dtype=np.int64)
        unknown = wanted[~self.known(wanted)]
        if len(unknown):
            raise RatingsError(f"{len(unknown)} image ids have no ratings in the AVA list, the first is {unknown[0]}.")
        order = np.argsort(self.image_ids)
        rows = order[np.searchsorted(self.image_ids, wanted, sorter=order)]
        return Ratings(self.image_ids[rows], self.votes[rows])


def image_path(folder: Path, image_id: int) -> Path:
    """Returns the path of the photo with this id in an AVA folder: `images/<id>.jpg`."""
    return folder / "images" / f"{image_id}.jpg"


def data_folder_of(path: Path) -> Path:
    """Returns the folder of the AVA data set that `path` names: the folder itself, or its file `AVA.txt`."""
    return path.parent if path.name == "AVA.txt" and not path.is_dir() else path


def read_ratings(path: Path) -> Ratings:
    """Reads an AVA list. `path` is the file itself, or a folder that holds it as `AVA.txt`.

    Raises `RatingsError` if the file cannot be read or is empty, or if a line has not 15 whole numbers, a negative
    count, no votes at all, or an image id that an earlier line has. The message names the file and the malformed lines.
    """
    if path.is_dir():
        path = path / "AVA.txt"
    try:
        text = path.read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise RatingsError(
            f"{path}: cannot read the AVA list ({error.strerror}); give its path or its folder."
        ) from error
    if not text.strip():
        raise RatingsError(f"{path}: the AVA list is empty.")
    try:
        # Quotes and words for missing values are errors here, like everything else that is not a number.
        with np.errstate(invalid="ignore"):  # a number that no integer can hold is found below
            rows = pd.read_csv(io.StringIO(text), sep=r"\s+", header=None, dtype=np.int64, na_filter=False, quoting=3)
        table = rows.to_numpy()
    except (ValueError, OverflowError):
        raise _malformed(path, text) from None
    if not _well_formed(table):
        raise _malformed(path, text)
    return Ratings(
        image_ids=table[:, 1].copy(),  # a view would keep the whole table alive
        votes=table[:, VOTES].astype(np.int32),
    )


def _well_formed(table: NDArray[np.int64]) -> bool:
    return bool(
        table.shape[1] == COLUMNS
        and table.min() >= 0
        and table[:, 2:].max() <= _INT32_MAX
        and table[:, VOTES].any(axis=1).all()
        and len(np.unique(table[:, 1])) == len(table)
    )


def _malformed(path: Path, text: str) -> RatingsError:
    """Makes the error for a malformed list: reads it again line by line to find the malformed lines."""
    found = list(_faults(text))
    shown = "; ".join(f"line {number}: {fault}" for number, fault in found[:_SHOWN])
    more = f" (and {len(found) - _SHOWN:,} more)" if len(found) > _SHOWN else ""
    rows = "row" if len(found) == 1 else "rows"
    return RatingsError(
        f"{path}: {len(found):,} malformed {rows} in the AVA list: {shown}{more}. "
        "A row has 15 whole numbers: index, image id, ten vote counts, two tags, challenge."
    )


def _faults(text: str) -> Iterator[tuple[int, str]]:
    first_seen: dict[int, int] = {}
    for number, line in enumerate(io.StringIO(text), start=1):
        fields = line.split()
        if not fields:
            continue
        wrong = next((field for field in fields if not _WHOLE_NUMBER.fullmatch(field)), None)
        if wrong is not None:
            yield number, f"{wrong[:20]!r} is no whole number"
            continue
        row = [int(field[:_DIGITS]) for field in fields]
        fault = _row_fault(row)
        if fault is None and row[1] in first_seen:
            fault = f"image {row[1]} was on line {first_seen[row[1]]} already"
        if fault is None:
            first_seen[row[1]] = number
        else:
            yield number, fault


def _row_fault(row: list[int]) -> str | None:
    if len(row) != COLUMNS:
        return f"{len(row)} columns instead of {COLUMNS}"
    if min(row) < 0:
        return "a negative number"
    if max(row[2:]) > _INT32_MAX or row[1] >= 2**63:
        return "a number that is too large"
    if not any(row[VOTES]):
        return f"image {row[1]} has no votes"
    return None
