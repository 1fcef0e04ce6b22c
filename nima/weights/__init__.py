"""Knows the published weights: fetches, checks and converts them.

Example:
    >>> from nima.weights import PUBLISHED_WEIGHTS, find_published_weights
    >>> weights = find_published_weights("mobilenet_v1-ava")
    >>> weights.licence, len(weights.sources), "resnet18-imagenet" in PUBLISHED_WEIGHTS
    ('Apache-2.0', 2, True)
    >>> find_published_weights("resnet")
    Traceback (most recent call last):
    ...
    nima.weights.fetching.WeightsError: There are no weights 'resnet'; choose one of mobilenet_v1-ava, …
"""

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
        import_model,
        import_weights,
    )
    from nima.weights.table import PUBLISHED_WEIGHTS, PublishedWeights
    from nima.weights.users_models import TASTE, own_model_path, own_models
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "fetching": [
                "cached_weights_path",
                "fetch_weights",
                "find_model",
                "find_published_weights",
                "import_model",
                "import_weights",
                "find_cached_source",
            ],
            "users_models": ["TASTE", "own_model_path", "own_models"],
            "table": ["PUBLISHED_WEIGHTS", "PublishedWeights"],
        },
    )

__all__ = [
    "PUBLISHED_WEIGHTS",
    "TASTE",
    "PublishedWeights",
    "cached_weights_path",
    "fetch_weights",
    "find_cached_source",
    "find_model",
    "find_published_weights",
    "import_model",
    "import_weights",
    "own_model_path",
    "own_models",
]
