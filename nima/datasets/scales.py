"""Turns ratings on any scale into whole votes for the ratings 1 to 10, which is all that AVA's list can hold.

A scale from `low` to `high` is mapped on 1 to 10 by a straight line, so the order and the relative distances of all
ratings stay. A rating that then lies between two whole ratings is shared between them by its distance to each, which
keeps the mean, and adds at most 0.25 to the variance.

Where a data set has no votes but their mean and standard deviation, the votes follow the distribution of maximum
entropy with these moments, as in NIMA (Talebi and Milanfar 2017, arXiv 1709.05424, section I-D on TID2013, which names
the method without an equation). It is `p(k) ∝ exp(a·k + b·k²)` (Cover and Thomas, "Elements of Information Theory",
theorem 12.1.1; for ratings: Saupe et al. 2024, arXiv 2410.00817).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nima.ratings import BUCKETS

VOTES = 10_000
"""Number of votes by which a distribution is written that is not whole votes: its mean then changes by at most 0.0025,
and in AVA's usual range (means 2 to 9, deviations 0.8 to 2.5) its standard deviation by at most 0.005."""

USUAL_DEVIATION = 1.43
"""Standard deviation of the ratings where a data set has their mean alone: the mean of the deviations of idealo's
25,548 AVA test photos (1.431; the middle 95% of them lie between 1.06 and 1.86)."""

_RATINGS = np.arange(1, BUCKETS + 1)
_STEPS = 300  # largest number of steps; about ten are enough, near the edge of what is possible some hundred
_CLOSE = 1e-6  # distance of a distribution's moments from those that are wanted
_NEAR_EDGE = 1e-3  # distance of the variance from its bounds, where the exponents would grow without end


@dataclass(frozen=True)
class Scale:
    """A scale of ratings, from the worst, `low`, to the best, `high`, with low < high.

    Raises `ValueError` if the bounds are not finite or not in this order.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError("a scale goes from a smaller to a larger number")

    def __contains__(self, rating: float) -> bool:
        return self.low <= rating <= self.high

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}"

    def rating(self, value: float) -> float:
        """Returns the place, 1 to 10, of a value on this scale."""
        return 1 + (BUCKETS - 1) * (value - self.low) / (self.high - self.low)

    def deviation(self, value: float) -> float:
        """Returns the standard deviation on the scale from 1 to 10 of one on this scale."""
        return (BUCKETS - 1) * value / (self.high - self.low)


AVA_SCALE = Scale(1, BUCKETS)
STAR_SCALE = Scale(1, 5)


def votes_on(scale: Scale, values: Sequence[float], counts: Sequence[float]) -> tuple[int, ...]:
    """Returns the votes for the ratings 1 to 10, ten whole numbers, of votes on another scale.

    Whole counts of whole ratings stay as they are; all others become `VOTES` votes.

    Args:
        scale: the scale, on which all values lie.
        values: the values on the scale, `[n]`.
        counts: the number of votes or the share of each value, `[n]`: finite, at least 0, with a sum above 0.
    """
    votes = np.zeros(BUCKETS)
    for value, count in zip(values, counts, strict=True):
        place = scale.rating(value) - 1
        below = min(int(place), BUCKETS - 2)
        votes[below] += count * (below + 1 - place)
        votes[below + 1] += count * (place - below)
    if (votes == np.rint(votes)).all() and votes.sum() < 2**31:
        return tuple(int(vote) for vote in votes)
    return whole_votes(votes / votes.sum())


def votes_of_moments(scale: Scale, mean: float, deviation: float | None = None) -> tuple[int, ...]:
    """Returns `VOTES` votes, ten whole numbers, with this mean and this standard deviation.

    Args:
        scale: the scale, on which the mean lies.
        mean: mean of the ratings.
        deviation: their standard deviation, at least 0; None for `USUAL_DEVIATION` of the ratings 1 to 10, or the
            largest that is possible with the mean, if it is smaller.

    Raises `ValueError` if no ratings on the scale have this deviation with this mean. A deviation below the smallest
    that whole ratings can have becomes that.
    """
    place = scale.rating(mean)
    largest = math.sqrt(max(0.0, (place - 1) * (BUCKETS - place)))
    if deviation is None:
        return whole_votes(maximum_entropy(place, min(USUAL_DEVIATION, largest)))
    spread = scale.deviation(deviation)
    if spread > largest + 1e-6:
        raise ValueError(
            f"with the mean {mean:g}, the deviation is at most {largest * (scale.high - scale.low) / (BUCKETS - 1):.3g}"
        )
    return whole_votes(maximum_entropy(place, min(spread, largest)))


@lru_cache(maxsize=1 << 16)
def maximum_entropy(mean: float, deviation: float) -> NDArray[np.float64]:
    """Returns the distribution over the ratings 1 to 10 with these moments and the largest entropy, float64 `[10]`.

    Args:
        mean: 1 to 10.
        deviation: at least 0, at most what is possible with the mean.
    """
    low = int(min(mean, BUCKETS - 1))
    share = mean - low
    least, most = share * (1 - share), (mean - 1) * (BUCKETS - mean)
    variance = deviation**2
    if variance <= least + _NEAR_EDGE:
        return _two_ratings(low, low + 1, share)
    if variance >= most - _NEAR_EDGE:
        return _two_ratings(1, BUCKETS, (mean - 1) / (BUCKETS - 1))
    # The exponents minimise log Σ exp(a·x + b·x²) − b·variance, a convex function, with x the distance from the mean.
    distance = _RATINGS - mean
    moments, wanted = np.stack([distance, distance**2]), np.array([0.0, variance])
    exponents, damping = np.array([0.0, -0.5 / variance]), 1e-9
    potential = _potential(exponents, moments, wanted)
    for _ in range(_STEPS):  # of Levenberg's and Marquardt's method
        p = _softmax(exponents @ moments)
        means = moments @ p
        gap = means - wanted
        if np.abs(gap).max() < _CLOSE:
            break
        covariance = (moments * p) @ moments.T - np.outer(means, means)
        tried = exponents - np.linalg.solve(covariance + damping * np.diag(np.diag(covariance) + 1e-12), gap)
        if (reached := _potential(tried, moments, wanted)) <= potential:
            exponents, potential, damping = tried, reached, damping / 10
        else:
            damping = max(10 * damping, 1e-3)
    return _softmax(exponents @ moments)


def whole_votes(probabilities: ArrayLike) -> tuple[int, ...]:
    """Returns `VOTES` votes that are as near to the probabilities as possible: by the method of largest remainders.

    Args:
        probabilities: at least 0, with sum 1, `[10]`.
    """
    quotas = VOTES * np.asarray(probabilities, dtype=np.float64)
    votes = np.floor(quotas).astype(int)
    lacking = VOTES - int(votes.sum())
    votes[np.argsort(votes - quotas, kind="stable")[:lacking]] += 1
    return tuple(votes.tolist())


def _two_ratings(lower: int, upper: int, share: float) -> NDArray[np.float64]:
    """Returns the distribution in which `share` of the ratings are the upper one, and the others the lower one."""
    probabilities = np.zeros(BUCKETS)
    probabilities[lower - 1], probabilities[upper - 1] = 1 - share, share
    return probabilities


def _softmax(values: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(values - values.max())
    return np.asarray(powers / powers.sum())


def _potential(exponents: NDArray[np.float64], moments: NDArray[np.float64], wanted: NDArray[np.float64]) -> float:
    values = exponents @ moments
    return float(values.max() + np.log(np.exp(values - values.max()).sum()) - exponents @ wanted)
