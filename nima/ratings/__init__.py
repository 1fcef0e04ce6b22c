"""Computes with distributions over the ten ratings: their arithmetic, the EMD loss, and metrics with intervals.

Example:
    >>> from nima.ratings import ava_percentile, compute_metrics, mean_rating, normalise_votes, stars_of_percentile
    >>> p = normalise_votes([[0, 0, 0, 1, 2, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 2, 0, 0, 0]])
    >>> mean_rating(p).tolist()
    [5.0, 7.0]
    >>> round(ava_percentile(5.0)), stars_of_percentile(95)
    (29, 5)
    >>> compute_metrics(predicted=p, ratings=p).srcc_mean
    1.0
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nima.lazy import attach

if TYPE_CHECKING:
    from nima.ratings.confusion_matrix import confusion_counts
    from nima.ratings.distribution import BUCKETS, mean_rating, normalise_votes, standard_deviation
    from nima.ratings.loss import emd
    from nima.ratings.metrics import CORRELATION_METRICS, Metrics, RatingPairs, compute_metrics, metric_rows
    from nima.ratings.percentiles import (
        ava_percentile,
        mean_of_stars,
        percentile_among,
        score_quantiles,
        stars_of_percentile,
    )
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "confusion_matrix": ["confusion_counts"],
            "distribution": ["BUCKETS", "mean_rating", "normalise_votes", "standard_deviation"],
            "loss": ["emd"],
            "metrics": ["CORRELATION_METRICS", "Metrics", "RatingPairs", "compute_metrics", "metric_rows"],
            "percentiles": [
                "ava_percentile",
                "mean_of_stars",
                "percentile_among",
                "score_quantiles",
                "stars_of_percentile",
            ],
        },
    )

__all__ = [
    "BUCKETS",
    "CORRELATION_METRICS",
    "Metrics",
    "RatingPairs",
    "ava_percentile",
    "compute_metrics",
    "confusion_counts",
    "emd",
    "mean_of_stars",
    "mean_rating",
    "metric_rows",
    "normalise_votes",
    "percentile_among",
    "score_quantiles",
    "standard_deviation",
    "stars_of_percentile",
]
