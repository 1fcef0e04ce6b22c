"""Reads the AVA data set and others in its layout (ratings, photos, splits, description), and tables of predictions.

Example:
    >>> import tempfile
    >>> from pathlib import Path
    >>> from nima.ava import image_path, random_split, read_ratings
    >>> folder = tempfile.TemporaryDirectory()
    >>> _ = Path(folder.name, "AVA.txt").write_text("1 953619 0 1 5 17 38 36 15 6 5 1 1 22 1396\\n")
    >>> ratings = read_ratings(Path(folder.name))  # one photo: index, id, ten vote counts, two tags, challenge
    >>> ratings.image_ids.tolist(), int(ratings.votes.sum()), image_path(Path("ava"), 953619).as_posix()
    ([953619], 124, 'ava/images/953619.jpg')
    >>> test = random_split(range(10), seed=0, test_share=0.2)
    >>> test.name, len(test.image_ids)
    ('random-0', 2)
    >>> folder.cleanup()
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nima.lazy import attach

if TYPE_CHECKING:
    from nima.ava.check import check_photos
    from nima.ava.dataset import AVA, UNKNOWN_RATERS, Dataset, DatasetError
    from nima.ava.prediction_table import PREDICTION_COLUMNS, PredictionTable, read_prediction_table
    from nima.ava.ratings_list import Ratings, data_folder_of, image_path, read_ratings
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
            "dataset": ["AVA", "UNKNOWN_RATERS", "Dataset", "DatasetError"],
            "prediction_table": ["PREDICTION_COLUMNS", "PredictionTable", "read_prediction_table"],
            "ratings_list": ["Ratings", "data_folder_of", "image_path", "read_ratings"],
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
    "AVA",
    "KNOWN_SPLIT_HASHES",
    "PREDICTION_COLUMNS",
    "UNKNOWN_RATERS",
    "Dataset",
    "DatasetError",
    "PredictionTable",
    "Ratings",
    "Split",
    "check_photos",
    "check_same_split",
    "data_folder_of",
    "image_path",
    "random_split",
    "read_image_ids",
    "read_prediction_table",
    "read_ratings",
    "read_split",
    "write_image_ids",
]
