"""Computes with distributions over the ten ratings: their arithmetic, the EMD loss, and metrics with intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nima.lazy import attach

if TYPE_CHECKING:
    from nima.ratings.confusion_matrix import confusion
    from nima.ratings.distribution import BUCKETS, mean, normalise, standard_deviation
    from nima.ratings.loss import emd
    from nima.ratings.metrics import CORRELATIONS, Metrics, Pairs, evaluate, metric_rows
    from nima.ratings.percentiles import ava_percentile, stars
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "confusion_matrix": ["confusion"],
            "distribution": ["BUCKETS", "mean", "normalise", "standard_deviation"],
            "loss": ["emd"],
            "metrics": ["CORRELATIONS", "Metrics", "Pairs", "evaluate", "metric_rows"],
            "percentiles": ["ava_percentile", "stars"],
        },
    )

__all__ = [
    "BUCKETS",
    "CORRELATIONS",
    "Metrics",
    "Pairs",
    "ava_percentile",
    "confusion",
    "emd",
    "evaluate",
    "mean",
    "metric_rows",
    "normalise",
    "standard_deviation",
    "stars",
]
