"""Ranks a score among the mean ratings of AVA's photos, or among the scores that a model gives to its own test photos.

Most means of AVA lie between 4 and 7, and predictions lie even closer together. So a score of 5.4 alone says little; it
says more that half of AVA's photos lie below it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

# Percentile → the mean rating below which that percentage of AVA's photos lies. Computed from the votes on 249,828 of
# AVA's 255,530 photos (Murray et al., 2012); between the points, linear interpolation is within 0.2 percent.
# fmt: off
_AVA = (
    (0, 1.809), (0.01, 2.232), (0.1, 2.745), (0.5, 3.308), (1, 3.566), (2, 3.826), (4, 4.092), (6, 4.251),
    (8, 4.372), (10, 4.466), (12, 4.548), (14, 4.62), (16, 4.684), (18, 4.741), (20, 4.794), (22, 4.843),
    (24, 4.89), (26, 4.934), (28, 4.977), (30, 5.019), (32, 5.058), (34, 5.097), (36, 5.135), (38, 5.172),
    (40, 5.21), (42, 5.246), (44, 5.281), (46, 5.317), (48, 5.353), (50, 5.387), (52, 5.424), (54, 5.459),
    (56, 5.495), (58, 5.531), (60, 5.567), (62, 5.604), (64, 5.642), (66, 5.681), (68, 5.72), (70, 5.76),
    (72, 5.802), (74, 5.846), (76, 5.89), (78, 5.939), (80, 5.989), (82, 6.043), (84, 6.1), (86, 6.162),
    (88, 6.23), (90, 6.31), (92, 6.4), (94, 6.51), (96, 6.655), (98, 6.878), (99, 7.072), (99.5, 7.258),
    (99.9, 7.649), (99.99, 8.091), (100, 8.6),
)
# fmt: on

_STARS = (15, 40, 70, 90)  # the percentiles at which two, three, four and five stars begin


def ava_percentile(score: float) -> float:
    """Returns the percentage, 0 to 100, of AVA's photos whose mean rating lies below `score` (1 to 10).

    Example:
        >>> round(ava_percentile(5.387), 1)
        50.0
    """
    percents, means = zip(*_AVA, strict=True)
    return float(np.interp(score, means, percents))


def score_quantiles(scores: ArrayLike) -> list[float]:
    """Returns the 101 scores below which 0, 1, …, 100 percent of `scores` (`[n]`, n ≥ 1, 1 to 10) lie, ascending."""
    found: list[float] = np.round(np.percentile(np.asarray(scores, dtype=np.float64), range(101)), 4).tolist()
    return found


def percentile_among(score: float, quantiles: Sequence[float]) -> float:
    """Returns the percentage, 0 to 100, of scores below `score`, from their `score_quantiles`.

    Between two quantiles, the scores are taken to be spread evenly. If several are equal, the highest percentage
    counts.

    Example:
        >>> percentile_among(5.5, score_quantiles([4, 5, 6, 7]))
        50.0
        >>> percentile_among(9, score_quantiles([4, 5, 6, 7]))
        100.0
    """
    return float(np.interp(score, quantiles, np.linspace(0, 100, len(quantiles))))


def stars_of_percentile(percentile: float) -> int:
    """Returns 1 to 5 stars for a percentile (0 to 100); two stars begin at 15, then 40, 70 and 90.

    Of AVA's own photos one in ten gets five stars. Of the default model's predictions for them, which lie closer
    together, it is one in 22.

    Example:
        >>> [stars_of_percentile(percentile) for percentile in (10, 50, 95)]
        [1, 3, 5]
    """
    return 1 + sum(percentile >= threshold for threshold in _STARS)


def mean_of_stars(stars: int) -> float:
    """Returns the mean rating in the middle of the share of AVA's photos that get 1 to 5 stars.

    It is the inverse of `stars_of_percentile`: a photo with this mean gets these stars. Raises ValueError if there are
    no such stars.

    Example:
        >>> [round(mean_of_stars(stars), 2) for stars in range(1, 6)]
        [4.34, 4.97, 5.48, 5.99, 6.58]
    """
    if not 1 <= stars <= len(_STARS) + 1:
        raise ValueError(f"stars are 1 to {len(_STARS) + 1}, not {stars}")
    bounds = (0, *_STARS, 100)
    percents, means = zip(*_AVA, strict=True)
    return float(np.interp((bounds[stars - 1] + bounds[stars]) / 2, percents, means))
