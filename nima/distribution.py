"""Distributions of ratings: ten ordered buckets, 1 (worst) to 10 (best), one row an image.

Everything here is numpy in float64; `probabilities` are `[..., 10]`, non-negative, with sum 1 in the last
axis.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nima.errors import NimaError

BUCKETS = 10
RATINGS = np.arange(1, BUCKETS + 1)


class DistributionError(NimaError):
    """Votes or probabilities that are no distribution over the ten ratings."""


def normalise(votes: ArrayLike) -> NDArray[np.float64]:
    """Votes `[..., 10]` (counts ≥ 0, at least one an image) → probabilities `[..., 10]`.

    Raises `DistributionError` for another last axis, negative or non-finite counts, and an image without
    votes.
    """
    counts = _ten_buckets(votes)
    total = counts.sum(axis=-1, keepdims=True)
    if not np.isfinite(counts).all() or (counts < 0).any() or (total <= 0).any():
        raise DistributionError("Votes must be finite and not negative, with at least one vote an image.")
    return np.asarray(counts / total)


def mean(probabilities: ArrayLike) -> NDArray[np.float64]:
    """Mean rating, 1 to 10, of each distribution: `[..., 10]` → `[...]`."""
    return np.asarray(_ten_buckets(probabilities) @ RATINGS)


def standard_deviation(probabilities: ArrayLike) -> NDArray[np.float64]:
    """Standard deviation, 0 to 4.5, of the ratings in each distribution: `[..., 10]` → `[...]`."""
    p = _ten_buckets(probabilities)
    deviation = RATINGS - mean(p)[..., np.newaxis]
    # p may sum to 1 + 1e-16, which the centred form forgives and E[x²] − E[x]² does not.
    return np.asarray(np.sqrt((p * deviation**2).sum(axis=-1)))


def percentile(value: ArrayLike, population: ArrayLike) -> NDArray[np.float64]:
    """Share in percent, 0 to 100, of `population` (`[n]`, any order) below each `value`; ties count half."""
    ordered = np.sort(np.asarray(population, dtype=np.float64).ravel())
    if ordered.size == 0 or not np.isfinite(ordered).all():
        raise DistributionError("A percentile needs a population of at least one number, all of them finite.")
    below = np.searchsorted(ordered, value, side="left")
    not_above = np.searchsorted(ordered, value, side="right")
    return np.asarray(100.0 * (below + not_above) / (2.0 * ordered.size))


def _ten_buckets(values: Any) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim == 0 or array.shape[-1] != BUCKETS:
        raise DistributionError(f"A rating distribution has {BUCKETS} buckets; the shape here is {array.shape}.")
    return array
