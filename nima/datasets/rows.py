"""Defines what a reader of a data set yields: rated photos, and rows that it refuses with their place and reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from nima.errors import NimaError

RefusalKind = Literal[
    "malformed", "out of range", "duplicate", "missing", "outside", "unreadable", "unrated", "rejected"
]


class DatasetImportError(NimaError):
    """A data set cannot be read or written at all; the message says what to do."""


@dataclass(frozen=True)
class RatedPhoto:
    """A photo with its votes.

    name: path of the photo, as the source has it: relative to the source's folder of photos.
    votes: counts of the ratings 1 to 10, ten whole numbers, at least one of them above 0.
    where: file and line of the row, such as "votes.csv: line 3"; the file alone where a rating stands in a photo.
    test: True if the publishers of the data set mean the photo for testing.
    """

    name: str
    votes: tuple[int, ...]
    where: str
    test: bool = False


@dataclass(frozen=True)
class Refusal:
    """A row that is not imported.

    kind: a word or two by which refusals are counted.
    where: file and line, as for `RatedPhoto`.
    reason: a clause that says what is wrong.
    """

    kind: RefusalKind
    where: str
    reason: str

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}"


Row: TypeAlias = RatedPhoto | Refusal


@dataclass(frozen=True)
class RatedSource:
    """A data set that can be imported.

    name: name of the data set.
    raters: a phrase that says whose ratings these are.
    licence: the licence under which the data set is published, or a phrase that says where to find it.
    photos: folder of the photos; nothing outside it is imported.
    rows: yields all rows, from the start at each call; raises `DatasetImportError` if a file cannot be read at all.
    private: True if the photos must not be shown to others, which is so unless somebody published them.
    """

    name: str
    raters: str
    licence: str
    photos: Path
    rows: Callable[[], Iterator[Row]]
    private: bool = True
