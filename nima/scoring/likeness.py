"""Compares the greys of two photos: whether they show the same, with how much movement, and if that can be told at all.

The measure is the correlation of greys (Pearson's), which does not change with brightness and contrast.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from nima.photos import GREYS_SIDE

Greys: TypeAlias = NDArray[np.float32]

SAME = 0.95
"""Least correlation of two photos that show the same; 0.993 or more for copies that are smaller and brighter."""

ALIKE = 0.7
"""Least correlation of photos from one burst, in which something moves."""

_BLANK = 1.0  # standard deviation in levels of 0 to 255, below which a photo shows nothing that could be compared
_FLAT = 2.0  # difference of neighbouring places, in levels, that noise and compression can make
_FEW_PLACES = 32  # of 112; a difference hash means little if fewer places differ from their neighbours
_LEAST_MOVE = 3  # places of 32, 9% of the side; a hand moves a camera by less
_LEAST_OVERLAP = 8  # places of 32


@lru_cache(maxsize=4096)
def greys_of(content: bytes) -> Greys:
    """Returns greys, float32 `[32, 32]`, from their bytes."""
    return np.frombuffer(content, dtype=np.uint8).reshape(GREYS_SIDE, GREYS_SIDE).astype(np.float32)


@lru_cache(maxsize=4096)
def is_blank(content: bytes) -> bool:
    """Returns True if a photo has too little structure to tell which others it resembles."""
    return bool(greys_of(content).std() < _BLANK)


@lru_cache(maxsize=4096)
def is_nearly_flat(content: bytes) -> bool:
    """Returns True if most of a photo is flat, so that its hash resembles those of other flat photos."""
    places = greys_of(content).reshape(8, 4, 8, 4).mean(axis=(1, 3))
    differing = [np.count_nonzero(np.abs(np.diff(places, axis=axis)) >= _FLAT) for axis in (0, 1)]
    return bool(sum(differing) < _FEW_PLACES)


@lru_cache(maxsize=8192)
def _standardized(content: bytes) -> Greys:
    """Returns greys as a vector of mean 0 and length 1, so that a product of two is their correlation."""
    centred = greys_of(content).ravel() - greys_of(content).mean()
    standardized: Greys = centred / np.linalg.norm(centred)
    return standardized


def are_same(one: bytes, other: bytes) -> bool:
    """Returns True if two photos show the same at the same place."""
    if is_blank(one) or is_blank(other):
        return False
    return bool(np.dot(_standardized(one), _standardized(other)) >= SAME)


def are_alike(one: bytes, other: bytes) -> bool:
    """Returns True if two photos show the same apart from small movements; flat ones must be the same."""
    if is_blank(one) or is_blank(other):
        return False
    if is_nearly_flat(one) or is_nearly_flat(other):
        return are_same(one, other)
    if np.dot(_standardized(one), _standardized(other)) >= ALIKE:
        return True
    return near_correlation(greys_of(one), greys_of(other)) >= ALIKE


def correlation(one: Greys, other: Greys) -> float:
    """Computes the correlation of greys of one shape, −1 to 1; 0 if one of them is of one level."""
    first, second = (one - one.mean()).ravel(), (other - other.mean()).ravel()
    norm = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float(first @ second) / norm if norm > 0 else 0.0


def near_correlation(one: Greys, other: Greys) -> float:
    """Computes the highest correlation if one photo may be moved by a place in any direction."""
    moves = [(across, down) for across in (-1, 0, 1) for down in (-1, 0, 1)]
    return max(correlation(*_overlap(one, other, across, down)) for across, down in moves)


def movement(one: Greys, other: Greys) -> tuple[int, int]:
    """Returns how far the camera has turned from one photo to the other, in places to the right and down.

    (0, 0) if it has not turned by 3 to 24 of 32 places along one side, or if that explains the photos not much better.
    """
    sizes = range(_LEAST_MOVE, GREYS_SIDE - _LEAST_OVERLAP + 1)
    moves = [move for size in sizes for move in ((size, 0), (-size, 0), (0, size), (0, -size))]
    found = [(correlation(*_overlap(one, other, *move)), move) for move in moves]
    best, move = max(found)
    # The rest that a movement leaves unexplained is at most half of what is left without it.
    explained = best >= ALIKE and 1 - best <= (1 - near_correlation(one, other)) / 2
    return move if explained else (0, 0)


def _overlap(one: Greys, other: Greys, across: int, down: int) -> tuple[Greys, Greys]:
    """Returns the parts of two photos that show the same, if the camera has turned by so many places between them."""

    def parts(places: int) -> tuple[slice, slice]:
        size = GREYS_SIDE - abs(places)
        return slice(max(0, places), max(0, places) + size), slice(max(0, -places), max(0, -places) + size)

    (first_rows, second_rows), (first_columns, second_columns) = parts(down), parts(across)
    return one[first_rows, first_columns], other[second_rows, second_columns]
