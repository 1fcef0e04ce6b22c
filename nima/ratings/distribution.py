"""Computes with distributions of ratings: ten ordered buckets, 1 (worst) to 10 (best), one row for each image.

Everything here is numpy in float64; `probabilities` are `[..., 10]`, not negative, with sum 1 in the last axis.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nima.errors import NimaError

BUCKETS = 10
"""Number of ratings that people can give."""

RATINGS = np.arange(1, BUCKETS + 1)
"""The ratings, int64 `[10]`: 1 to 10."""


class DistributionError(NimaError):
    """Votes or probabilities are not a distribution over the ten ratings."""


def normalise_votes(votes: ArrayLike) -> NDArray[np.float64]:
    """Turns votes `[..., 10]` (counts of at least 0) into probabilities, float64 `[..., 10]`.

    Raises `DistributionError` if the last axis has not ten entries, a count is negative or not finite, or an image has
    no votes.

    Example:
        >>> normalise_votes([0, 0, 0, 1, 2, 1, 0, 0, 0, 0]).tolist()
        [0.0, 0.0, 0.0, 0.25, 0.5, 0.25, 0.0, 0.0, 0.0, 0.0]
    """
    counts = _ten_buckets(votes)
    total = counts.sum(axis=-1, keepdims=True)
    if not np.isfinite(counts).all() or (counts < 0).any() or (total <= 0).any():
        raise DistributionError("Votes must be finite and not negative, with at least one vote an image.")
    return np.asarray(counts / total)


def mean_rating(probabilities: ArrayLike) -> NDArray[np.float64]:
    """Returns the mean rating, 1 to 10, of each distribution: `[..., 10]` → float64 `[...]`.

    Raises `DistributionError` if the last axis has not ten entries.

    Example:
        >>> float(mean_rating([0, 0, 0, 0.25, 0.5, 0.25, 0, 0, 0, 0]))
        5.0
    """
    return np.asarray(_ten_buckets(probabilities) @ RATINGS)


def standard_deviation(probabilities: ArrayLike) -> NDArray[np.float64]:
    """Returns the standard deviation, 0 to 4.5, of the ratings in each distribution: `[..., 10]` → float64 `[...]`.

    Raises `DistributionError` if the last axis has not ten entries.

    Example:
        >>> float(standard_deviation([0.5, 0, 0, 0, 0, 0, 0, 0, 0, 0.5]))
        4.5
    """
    p = _ten_buckets(probabilities)
    deviation = RATINGS - mean_rating(p)[..., np.newaxis]
    # p may sum to 1 + 1e-16, which does not matter in the centred form, but does in E[x²] − E[x]².
    return np.asarray(np.sqrt((p * deviation**2).sum(axis=-1)))


def percentile(value: ArrayLike, population: ArrayLike) -> NDArray[np.float64]:
    """Returns the percentage, 0 to 100, of `population` (`[n]`, any order) below each `value`; ties count half.

    Raises `DistributionError` if the population is empty or not finite.

    Example:
        >>> float(percentile(6.0, [4.0, 5.0, 6.0, 7.0]))
        62.5
    """
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
