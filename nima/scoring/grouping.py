"""Groups near-duplicates among photos (bursts, retakes and copies) by their look and the time they were taken.

Two photos belong together if their difference hashes are nearly the same, or if the hashes are alike and the photos
were taken within half a minute. A group is all photos that such pairs connect. "Nearly the same" is a distance of at
most 8 of the 128 bits: such photos are copies that are smaller, brighter or compressed. "Alike" is a distance of at
most 28 bits: nine of ten photos are within it after they are moved by up to 3%, as a hand moves a camera; of 25
unrelated photos no two were less than 41 bits apart.

A hash tells little of photos that are flat for the most part: the moon at night, a product on white. So the greys of
two photos must correlate, too (see `likeness`), and a photo without any structure is in no group with others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import product

import numpy as np

from nima.photos import DIFFERENCE_HASH_BITS, Appearance
from nima.scoring.likeness import are_alike, are_same, is_blank
from nima.scoring.score import Group, Score
from nima.scoring.sequences import is_sequence

COPY_BITS = 8
"""Largest distance of the hashes of copies, in bits."""

BURST_BITS = 28
"""Largest distance of the hashes of photos from one burst, in bits."""

BURST_SECONDS = 30
"""Largest time between two photos of one burst."""

_BLOCK = 64  # number of photos that are compared at once with those before them


def with_groups(scores: Iterable[Score]) -> list[Score]:
    """Returns the scores, each with its group; scores without an appearance (of unreadable photos) get no group.

    Groups are numbered from 1 in the order of their first photos; a photo that is like no other is its own group.
    """
    every = list(scores)
    seen = [score for score in every if score.appearance is not None and score.aesthetic_score is not None]
    numbers = group_numbers([score.appearance for score in seen if score.appearance is not None])
    best: dict[int, Score] = {}
    members: dict[int, list[Appearance]] = {}
    for score, number in zip(seen, numbers, strict=True):
        assert score.appearance is not None
        members.setdefault(number, []).append(score.appearance)
        if number not in best or _rating(score) > _rating(best[number]):
            best[number] = score
    sequences = {number for number, group in members.items() if len(group) > 1 and is_sequence(group)}
    numbered = iter(numbers)
    grouped = []
    for score in every:
        if score.appearance is not None and score.aesthetic_score is not None:
            number = next(numbered)
            score = replace(
                score, group=Group(number, len(members[number]), score is best[number], number in sequences)
            )
        grouped.append(score)
    return grouped


def group_numbers(appearances: Sequence[Appearance]) -> list[int]:
    """Returns the number of each photo's group: 1 for the group of the first photo, and so on.

    Example:
        >>> first, copy = Appearance(hash=0, taken=None, thumbnail=None), Appearance(hash=7, taken=None, thumbnail=None)
        >>> other = Appearance(hash=2**128 - 1, taken=None, thumbnail=None)
        >>> group_numbers([first, other, copy])
        [1, 2, 1]
    """
    parents = list(range(len(appearances)))

    def root(index: int) -> int:
        while parents[index] != index:
            parents[index] = parents[parents[index]]
            index = parents[index]
        return index

    for pairs, compare in ((_copies(appearances), are_same), (_bursts(appearances), are_alike)):
        for one, other in pairs:
            if root(one) != root(other) and _agree(compare, appearances[one], appearances[other]):
                parents[root(one)] = root(other)
    numbers: dict[int, int] = {}
    return [numbers.setdefault(root(index), len(numbers) + 1) for index in range(len(appearances))]


def _copies(appearances: Sequence[Appearance]) -> Iterator[tuple[int, int]]:
    """Yields pairs of photos of nearly the same hash; of those with one hash and the same greys, one is compared.

    If two hashes differ in up to eight bits, at least one of nine parts is the same. So only photos that share a part
    are compared, and the effort grows with the number of photos and not with the number of their pairs.
    """
    # One photo stands for all that are the same; several may have one hash and show something else.
    first: dict[int, list[int]] = {}
    for index, looks in enumerate(appearances):
        if looks.greys is not None and is_blank(looks.greys):
            continue
        others = first.setdefault(looks.hash, [])
        same = next((other for other in others if _agree(are_same, appearances[other], looks)), None)
        if same is None:
            others.append(index)
        else:
            yield same, index
    parts = COPY_BITS + 1
    # A part is every ninth bit, because neighbouring bits are nearly equal.
    masks = [sum(1 << bit for bit in range(part, DIFFERENCE_HASH_BITS, parts)) for part in range(parts)]
    for part, mask in enumerate(masks):
        sharing: dict[int, list[int]] = {}
        for hash_, indices in first.items():
            others = sharing.setdefault(hash_ & mask, [])
            for other in others:
                differing = other ^ hash_
                # Hashes that share an earlier part have been compared there.
                if differing.bit_count() <= COPY_BITS and all(differing & earlier for earlier in masks[:part]):
                    yield from product(first[other], indices)
            others.append(hash_)


def _agree(compare: Callable[[bytes, bytes], bool], one: Appearance, other: Appearance) -> bool:
    """Returns the result of comparing two photos' greys; True if one of them has none, so that the hashes decide."""
    return one.greys is None or other.greys is None or compare(one.greys, other.greys)


def _bursts(appearances: Sequence[Appearance]) -> Iterator[tuple[int, int]]:
    """Yields pairs of photos whose hashes are alike and which were taken shortly after each other."""
    timed = sorted((looks.taken, index) for index, looks in enumerate(appearances) if looks.taken is not None)
    if not timed:
        return
    seconds = np.array([(taken - timed[0][0]).total_seconds() for taken, _ in timed])
    packed = b"".join(appearances[index].hash.to_bytes(DIFFERENCE_HASH_BITS // 8, "big") for _, index in timed)
    bits = (
        np.unpackbits(np.frombuffer(packed, dtype=np.uint8)).reshape(-1, DIFFERENCE_HASH_BITS).astype(np.float32) * 2
        - 1
    )
    earliest = np.searchsorted(seconds, seconds - BURST_SECONDS)
    for first in range(0, len(timed), _BLOCK):
        last = min(first + _BLOCK, len(timed))
        before = slice(earliest[first], last)
        # With values of ±1, a product sums to the bits that agree minus the bits that differ.
        alike = bits[first:last] @ bits[before].T >= DIFFERENCE_HASH_BITS - 2 * BURST_BITS
        for later, earlier in np.argwhere(alike):
            one, other = first + later, earliest[first] + earlier
            if earliest[one] <= other < one:
                yield timed[one][1], timed[other][1]


def _rating(score: Score) -> float:
    assert score.aesthetic_score is not None
    return score.aesthetic_score
