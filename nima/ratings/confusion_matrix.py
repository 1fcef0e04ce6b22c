"""Counts photos by rated and by predicted bucket: a confusion matrix of the ten ratings."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nima.ratings.distribution import BUCKETS, mean_rating


def bucket(means: ArrayLike) -> NDArray[np.int64]:
    """Returns the bucket, 1 to 10, that is nearest to each mean rating `[...]`; halves go up.

    Example:
        >>> bucket([1.2, 5.5, 9.9]).tolist()
        [1, 6, 10]
    """
    return np.clip(np.floor(np.asarray(means, dtype=np.float64) + 0.5), 1, BUCKETS).astype(np.int64)


def confusion_counts(predicted: ArrayLike, rated: ArrayLike) -> NDArray[np.int64]:
    """Counts photos by bucket, int64 `[10, 10]`: rows by the rated mean, columns by the predicted mean.

    Args:
        predicted, rated: distributions of the same n photos, `[n, 10]` each, rows with sum 1.

    Raises:
        DistributionError: the last axis has not ten entries.

    Example:
        >>> predicted, rated = np.eye(10)[[4, 4]], np.eye(10)[[4, 6]]  # 5 and 5; 5 and 7
        >>> counts = confusion_counts(predicted, rated)
        >>> counts.shape, int(counts[4, 4]), int(counts[6, 4])
        ((10, 10), 1, 1)
    """
    counts = np.zeros((BUCKETS, BUCKETS), dtype=np.int64)
    np.add.at(counts, (bucket(mean_rating(rated)) - 1, bucket(mean_rating(predicted)) - 1), 1)
    return counts
