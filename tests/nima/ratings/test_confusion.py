"""Counts of photos by rated and predicted bucket."""

from __future__ import annotations

import numpy as np
import pytest

from nima.ratings.confusion_matrix import bucket, confusion_counts


@pytest.mark.parametrize(("mean", "expected"), [(1.0, 1), (4.49, 4), (4.5, 5), (5.49, 5), (9.5, 10), (10.0, 10)])
def test_a_mean_falls_into_the_nearest_bucket(mean: float, expected: int) -> None:
    assert bucket(mean) == expected


def test_rows_are_rated_and_columns_predicted() -> None:
    distributions = np.eye(10)
    counts = confusion_counts(predicted=distributions[[2, 2, 7]], rated=distributions[[2, 4, 7]])
    assert {(row + 1, column + 1): counts[row, column] for row, column in np.argwhere(counts)} == {
        (3, 3): 1, (5, 3): 1, (8, 8): 1,
    }  # fmt: skip


def test_every_photo_is_counted_once() -> None:
    random = np.random.default_rng(0)
    predicted, rated = random.dirichlet(np.ones(10), (2, 500))
    assert confusion_counts(predicted, rated).sum() == 500
