"""Recognises photos that are made to be joined into one picture: exposure brackets and panoramas."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from nima.photos import Appearance
from nima.scoring.likeness import greys_of, movement


def is_sequence(group: Sequence[Appearance]) -> bool:
    """Returns True if the photos of a group of near-duplicates are a bracket or a panorama, of which all are needed."""
    timed = sorted((looks for looks in group if looks.taken is not None), key=lambda looks: str(looks.taken))
    return is_bracket(timed) or is_panorama(timed)


def is_bracket(photos: Sequence[Appearance]) -> bool:
    """Returns True if photos were taken with several exposure biases, each equally often.

    Example:
        >>> [is_bracket([Appearance(0, None, exposure_bias=bias) for bias in biases])
        ...  for biases in ((0, -2, 2), (0, 0, -2), (0, 0, 0))]
        [True, False, False]
    """
    biases = Counter(looks.exposure_bias for looks in photos if looks.exposure_bias is not None)
    return len(biases) > 1 and len(set(biases.values())) == 1


def is_panorama(photos: Sequence[Appearance]) -> bool:
    """Returns True if the camera has turned in one direction from each photo to the next, and they overlap.

    The photos must be in the order of their times.
    """
    greys = [greys_of(looks.greys) for looks in photos if looks.greys is not None]
    if len(greys) < 2 or len(greys) < len(photos):
        return False
    direction: tuple[bool, bool, bool, bool] | None = None
    for one, other in pairwise(greys):
        across, down = movement(one, other)
        turned = (across > 0, across < 0, down > 0, down < 0)
        if not any(turned) or direction not in (None, turned):
            return False
        direction = turned
    return True
