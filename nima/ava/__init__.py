"""Reads the AVA data set (its ratings, photos and splits) and tables of predictions on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nima.lazy import attach

if TYPE_CHECKING:
    from nima.ava.check import check_photos
    from nima.ava.prediction_table import PREDICTION_COLUMNS, PredictionTable, read_prediction_table
    from nima.ava.ratings_list import Ratings, image_path, read_ratings
    from nima.ava.splits import (
        KNOWN_SPLIT_HASHES,
        Split,
        check_same_split,
        random_split,
        read_image_ids,
        read_split,
        write_image_ids,
    )
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "check": ["check_photos"],
            "prediction_table": ["PREDICTION_COLUMNS", "PredictionTable", "read_prediction_table"],
            "ratings_list": ["Ratings", "image_path", "read_ratings"],
            "splits": [
                "KNOWN_SPLIT_HASHES",
                "Split",
                "check_same_split",
                "random_split",
                "read_image_ids",
                "read_split",
                "write_image_ids",
            ],
        },
    )

__all__ = [
    "KNOWN_SPLIT_HASHES",
    "PREDICTION_COLUMNS",
    "PredictionTable",
    "Ratings",
    "Split",
    "check_photos",
    "check_same_split",
    "image_path",
    "random_split",
    "read_image_ids",
    "read_prediction_table",
    "read_ratings",
    "read_split",
    "write_image_ids",
]
