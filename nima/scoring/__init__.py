"""Scores photos: in batches, with a cache and groups.

Example:
    >>> from nima.scoring import Score, with_groups
    >>> from nima.photos import Appearance
    >>> p = [0, 0, 0, 0, 0.25, 0.5, 0.25, 0, 0, 0]  # `Scorer().score(photos)` predicts them
    >>> first = Score.of("1.jpg", p, "drawn@00000000", width=60, height=40, appearance=Appearance(0, None))
    >>> first.aesthetic_score, first.stars
    (6.0, 4)
    >>> copy = Score.of("2.jpg", p, "drawn@00000000", width=30, height=20, appearance=Appearance(1, None))
    >>> [score.group.number for score in with_groups([first, copy])]
    [1, 1]
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nima.lazy import attach

if TYPE_CHECKING:
    from nima.scoring.cache import CacheError, DispensableCache, ScoreCache
    from nima.scoring.grouping import with_groups
    from nima.scoring.runtimes import Runtime, RuntimeMissing, convert_model, is_converted, uses_onnx_runtime
    from nima.scoring.score import AVA_POPULATION, Population, Score
    from nima.scoring.scorer import DEFAULT_MODEL, FeatureScorer, Scorer
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "cache": ["CacheError", "DispensableCache", "ScoreCache"],
            "grouping": ["with_groups"],
            "runtimes": ["Runtime", "RuntimeMissing", "convert_model", "is_converted", "uses_onnx_runtime"],
            "score": ["AVA_POPULATION", "Population", "Score"],
            "scorer": ["DEFAULT_MODEL", "FeatureScorer", "Scorer"],
        },
    )

__all__ = [
    "AVA_POPULATION",
    "DEFAULT_MODEL",
    "CacheError",
    "DispensableCache",
    "FeatureScorer",
    "Population",
    "Runtime",
    "RuntimeMissing",
    "Score",
    "ScoreCache",
    "Scorer",
    "convert_model",
    "is_converted",
    "uses_onnx_runtime",
    "with_groups",
]
