"""Reads the test photos of a run, with predicted and rated distributions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nima.ava import read_prediction_table, read_ratings
from nima.ratings import normalise_votes


@dataclass(frozen=True)
class Tested:
    """The test photos of a run.

    image_ids: ids of the photos, int64 `[n]`.
    predicted, rated: predicted and rated distributions, float64 `[n, 10]`; each row sums to 1.
    ava: the AVA folder with the photos.
    """

    image_ids: NDArray[np.int64]
    predicted: NDArray[np.float64]
    rated: NDArray[np.float64]
    ava: Path


def read_tested(folder: Path, ava: Path) -> Tested:
    """Reads the predictions from the run's folder, and the ratings from AVA's list.

    Raises NimaError if either is missing or malformed.
    """
    table = read_prediction_table(folder / "predictions.csv")
    votes = read_ratings(ava).select(table.image_ids).votes
    return Tested(table.image_ids, normalise_votes(table.probabilities), normalise_votes(votes), ava)
