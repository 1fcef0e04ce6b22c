"""Knows the published weights: fetches, checks and converts them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nima.lazy import attach

if TYPE_CHECKING:
    from nima.weights.fetching import cached_path, fetch, find_model, find_weights, import_file, origin
    from nima.weights.table import WEIGHTS, Weights
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "fetching": ["cached_path", "fetch", "find_model", "find_weights", "import_file", "origin"],
            "table": ["WEIGHTS", "Weights"],
        },
    )

__all__ = ["WEIGHTS", "Weights", "cached_path", "fetch", "find_model", "find_weights", "import_file", "origin"]
