"""Computes how good predictions on AVA are: those of a file, or those that a model has just made."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nima.ava import KNOWN_SPLIT_HASHES, PredictionTable, Ratings, Split, check_same_split
from nima.errors import NimaError
from nima.ratings import CORRELATION_METRICS, Metrics, RatingPairs

MISSING_LIMIT = 0.05
"""Largest share of a split's images that may lack a rating or a prediction; AVA's official list itself lacks 0.35%."""


@dataclass(frozen=True)
class Evaluation:
    """Holds metrics with their 95% intervals, and the split on which they were computed.

    metrics: the metrics.
    intervals: (low, high) of each metric, by its name; empty if no intervals were computed.
    split: the split.
    missing: number of the split's images without a rating or a prediction.
    model: the model that made the predictions, as text; None if it is not known.
    """

    metrics: Metrics
    intervals: dict[str, tuple[float, float]]
    split: Split
    missing: int
    model: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Returns the evaluation as JSON values, as `evaluate --json` prints it."""
        return {
            **self.metrics.as_dict(),
            # A constant prediction has no correlation, which counts as 0.
            **{f"constant_{name}": 0.0 for name in CORRELATION_METRICS},
            "intervals": self.intervals,
            "split": {**self.split.as_json(), "images": len(self.split.image_ids)},
            "missing": self.missing,
            "model": self.model,
        }


def evaluate_predictions(
    table: PredictionTable, ratings: Ratings, split: Split | None, resamples: int, model: str | None = None
) -> Evaluation:
    """Computes the metrics of predictions on a split.

    Raises `NimaError` if more than `MISSING_LIMIT` of the split's images lack a prediction or a rating.

    Args:
        table: the predictions.
        ratings: the ratings of AVA.
        split: the images that count; None for all images of the table.
        resamples: number of resamples for the intervals; 0 for no intervals.
        model: the model that made the predictions, as text; None if it is not known.
    """
    if split is None:
        split = Split.of(table.image_ids, "all predictions")
    usable = np.isin(table.image_ids, split.image_ids) & ratings.known(table.image_ids)
    missing = len(split.image_ids) - int(usable.sum())
    if missing > MISSING_LIMIT * len(split.image_ids):
        unpredicted = int((~np.isin(split.image_ids, table.image_ids)).sum())
        unrated = int((~ratings.known(split.image_ids)).sum())
        raise NimaError(
            f"{missing:,} of the {len(split.image_ids):,} images of the split {split.name!r} cannot be evaluated "
            f"({unpredicted:,} without a prediction, {unrated:,} without ratings in the AVA list): "
            "the figures would not be those of the split. Give --ids a list of the images that you mean."
        )
    table = table.select(usable)
    pairs = RatingPairs.of(table.probabilities, ratings.select(table.image_ids).votes)
    return Evaluation(pairs.metrics(), pairs.intervals(resamples) if resamples else {}, split, missing, model)


def check_not_trained_on(trained: dict[str, Any] | None, split: Split) -> str | None:
    """Warns if a model may have seen the split's photos in training.

    Args:
        trained: the `split` in the model's metadata, with `name` and `hash` of its test ids; None if there is none.
        split: the split on which the model is to be evaluated.

    Returns:
        A warning for people; None if there is no reason for one.

    Raises `SplitError` if both are published splits and they differ, because then the model has seen the photos.
    """
    if trained is None or trained.get("hash") == split.hash:
        return None
    name, hash = str(trained.get("name")), str(trained.get("hash"))
    if hash in KNOWN_SPLIT_HASHES and split.hash in KNOWN_SPLIT_HASHES:
        check_same_split(name, hash, split.name, split.hash)
    return (
        f"The model was trained under the split {name!r} ({hash[:12]}), which is not {split}: "
        "it may have seen these photos in training."
    )


def read_evaluation(path: Path) -> dict[str, Any]:
    """Reads a file with the output of `evaluate --json`. Raises `NimaError` if the file is missing or malformed."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        str(content["split"]["name"]), str(content["split"]["hash"]), int(content["n"])
    except OSError as error:
        raise NimaError(f"{path}: the evaluation cannot be read ({error.strerror}). Choose another file.") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise NimaError(
            f"{path}: this is not the output of `nima-golem evaluate --json`. Write the file with that command."
        ) from error
    return dict(content)
