"""Reads the AVA data set (its ratings, photos and splits) and tables of predictions on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nima.lazy import attach

if TYPE_CHECKING:
    from nima.ava.check import check_photos
    from nima.ava.prediction_table import COLUMNS, PredictionTable, read_prediction_table
    from nima.ava.ratings_list import Ratings, image_path, read_ratings
    from nima.ava.splits import KNOWN_HASHES, Split, check_comparable, random_split, read_ids, read_split, write_ids
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "check": ["check_photos"],
            "prediction_table": ["COLUMNS", "PredictionTable", "read_prediction_table"],
            "ratings_list": ["Ratings", "image_path", "read_ratings"],
            "splits": [
                "KNOWN_HASHES",
                "Split",
                "check_comparable",
                "random_split",
                "read_ids",
                "read_split",
                "write_ids",
            ],
        },
    )

__all__ = [
    "COLUMNS",
    "KNOWN_HASHES",
    "PredictionTable",
    "Ratings",
    "Split",
    "check_comparable",
    "check_photos",
    "image_path",
    "random_split",
    "read_ids",
    "read_prediction_table",
    "read_ratings",
    "read_split",
    "write_ids",
]
