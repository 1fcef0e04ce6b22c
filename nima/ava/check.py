"""Finds the photos of an AVA folder that are missing, truncated or unreadable, by decoding every one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from nima.ava.ratings_list import KNOWN_BAD_IDS, Ratings, image_path
from nima.photos import PhotoError, open_photo

# Number of photos that each thread may decode ahead of the reader, so that not all 255,530 are in memory at once.
_AHEAD = 64


@dataclass(frozen=True)
class AvaReport:
    """Lists the photos of a data set that can be used, and those that cannot.

    clean: ids of the photos that can be used, in the order of the list.
    missing: ids of the photos without a file.
    unreadable: reason why a photo cannot be read, by its id.
    """

    clean: list[int]
    missing: list[int]
    unreadable: dict[int, str]

    @property
    def bad(self) -> set[int]:
        """Returns the ids of all photos that cannot be used."""
        return {*self.missing, *self.unreadable}

    @property
    def known_bad(self) -> list[int]:
        """Returns the ids of those bad photos that are bad in every known copy of AVA, ascending."""
        return sorted(self.bad & KNOWN_BAD_IDS)


def check_photos(
    folder: Path,
    ratings: Ratings,
    threads: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> AvaReport:
    """Decodes every photo of the list in full, and reports those that are missing or unreadable.

    Args:
        folder: folder with `images/<id>.jpg`.
        ratings: the ratings of the photos to look for.
        threads: number of photos that are decoded at the same time, which decoding permits, as it releases the
            interpreter's lock; None for the number of cores.
        progress: is called after each photo with the numbers of photos done and of all photos.
    """
    clean: list[int] = []
    missing: list[int] = []
    unreadable: dict[int, str] = {}
    ids = ratings.image_ids.tolist()
    for image_id, fault in zip(ids, _faults(folder, ids, threads or os.cpu_count() or 1), strict=True):
        if fault is None:
            clean.append(image_id)
        elif fault == _MISSING:
            missing.append(image_id)
        else:
            unreadable[image_id] = fault
        progress(len(clean) + len(missing) + len(unreadable), len(ids))
    return AvaReport(clean, missing, unreadable)


_MISSING = "missing"


def _faults(folder: Path, ids: list[int], threads: int) -> Iterator[str | None]:
    def fault(image_id: int) -> str | None:
        path = image_path(folder, image_id)
        if not path.exists():
            return _MISSING
        try:
            open_photo(path)
        except PhotoError as error:
            return str(error)
        return None

    with ThreadPoolExecutor(threads) as pool:
        step = threads * _AHEAD
        for start in range(0, len(ids), step):
            yield from pool.map(fault, ids[start : start + step])
