"""Cuts the data set into shards, hold-out and test photos."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nima.lazy import attach

if TYPE_CHECKING:
    from requestor.training.data.dataset import Client, Dataset
    from requestor.training.data.sharding import RatedPhotos, holdout_images, make_shards
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "dataset": ["Client", "Dataset"],
            "sharding": ["RatedPhotos", "holdout_images", "make_shards"],
        },
    )

__all__ = ["Client", "Dataset", "RatedPhotos", "holdout_images", "make_shards"]
