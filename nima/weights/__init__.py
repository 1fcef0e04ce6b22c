"""Knows the published weights: fetches, checks and converts them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nima.lazy import attach

if TYPE_CHECKING:
    from nima.weights.fetching import (
        cached_weights_path,
        fetch_weights,
        find_cached_source,
        find_model,
        find_published_weights,
        import_weights,
    )
    from nima.weights.table import PUBLISHED_WEIGHTS, PublishedWeights
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "fetching": [
                "cached_weights_path",
                "fetch_weights",
                "find_model",
                "find_published_weights",
                "import_weights",
                "find_cached_source",
            ],
            "table": ["PUBLISHED_WEIGHTS", "PublishedWeights"],
        },
    )

__all__ = [
    "PUBLISHED_WEIGHTS",
    "PublishedWeights",
    "cached_weights_path",
    "fetch_weights",
    "find_cached_source",
    "find_model",
    "find_published_weights",
    "import_weights",
]
