"""Chooses the photos whose rating would teach most about the owner's taste.

The models that were learnt without one of the folds each are a committee. The more they disagree about a photo, the
more its rating tells (query by committee, Seung et al. 1992, doi:10.1145/130385.130417). Disagreement alone chooses
outliers, which tell little about other photos. So the choice is made among a few times as many photos, drawn at random,
and of photos that look alike only one is chosen.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from requestor.taste.learning import Tilt, moments_of

_CANDIDATES = 3  # photos to choose from, for each one that is wanted


def propose(
    features: NDArray[np.float16], groups: NDArray[np.int64], committee: Sequence[Tilt], count: int, seed: int = 0
) -> list[int]:
    """Returns the indices of at most `count` photos, the most telling one first.

    Args:
        features: of the photos to choose from, float16 `[n, features]`, n ≥ 1; it may be a file mapped to memory.
        groups: a number for each photo, `[n]`, which near-duplicates share; at most one photo of a group is chosen.
        committee: the tastes that were learnt without one of the folds each; if there are none, photos that differ from
            each other are chosen.
        count: number of photos wanted.
        seed: seed of the draw.
    """
    _, firsts = np.unique(groups, return_index=True)
    drawn = np.random.default_rng(seed).permutation(firsts)[: _CANDIDATES * count]
    rows = features[drawn]
    left = np.stack([tilt.of(rows) for tilt in committee]).std(axis=0) if committee else np.ones(len(drawn))
    centre, scale = moments_of(rows)
    directions = (rows.astype(np.float64) - centre) / scale
    lengths = np.linalg.norm(directions, axis=1, keepdims=True)
    directions /= np.where(lengths > 0, lengths, 1.0)
    likeness = np.full(len(drawn), -1.0)
    chosen: list[int] = []
    while len(chosen) < min(count, len(drawn)):
        value = left * (1 - likeness)
        value[chosen] = -1
        chosen.append(int(value.argmax()))
        likeness = np.maximum(likeness, directions @ directions[chosen[-1]])
    return [int(index) for index in drawn[chosen]]
