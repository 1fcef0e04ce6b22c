"""Computes how good predictions are on AVA: those of a file, or those that a model has just made."""

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
"""Share of a split's images that may lack a rating or a prediction; AVA's official list itself lacks 0.35%."""


@dataclass(frozen=True)
class Evaluation:
    """Holds metrics with their 95% intervals, and the split that they were computed on.

    missing: images of the split that had no rating or no prediction.
    """

    metrics: Metrics
    intervals: dict[str, tuple[float, float]]
    split: Split
    missing: int
    model: str | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            **self.metrics.as_dict(),
            # A constant has no correlation at all.
            **{f"constant_{name}": 0.0 for name in CORRELATION_METRICS},
            "intervals": self.intervals,
            "split": {**self.split.as_json(), "images": len(self.split.image_ids)},
            "missing": self.missing,
            "model": self.model,
        }


def evaluate_predictions(
    table: PredictionTable, ratings: Ratings, split: Split | None, resamples: int, model: str | None = None
) -> Evaluation:
    """Computes the metrics of predictions on a split; if `split` is None, on all images that were predicted.

    Raises `NimaError` if more than `MISSING_LIMIT` of the split lacks a prediction or a rating.
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
        trained: `split` of the model's metadata, with `name` and `hash` of its test ids; None if the metadata has none.

    Returns:
        a warning, or None.

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
    """Reads the output of an earlier `evaluate --json`. Raises `NimaError` if the file is missing or malformed."""
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
