"""Scores photos: in batches, with a cache, groups, and ratings in sidecars."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nima.lazy import attach

if TYPE_CHECKING:
    from nima.scoring.cache import ScoreCache
    from nima.scoring.grouping import with_groups
    from nima.scoring.runtimes import converted_model_path
    from nima.scoring.score import Score
    from nima.scoring.scorer import DEFAULT_MODEL, Scorer
    from nima.scoring.xmp import SidecarStyle, sidecar_path, write_rating
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "cache": ["ScoreCache"],
            "grouping": ["with_groups"],
            "runtimes": ["converted_model_path"],
            "score": ["Score"],
            "scorer": ["DEFAULT_MODEL", "Scorer"],
            "xmp": ["SidecarStyle", "sidecar_path", "write_rating"],
        },
    )

__all__ = [
    "DEFAULT_MODEL",
    "Score",
    "ScoreCache",
    "Scorer",
    "SidecarStyle",
    "converted_model_path",
    "sidecar_path",
    "with_groups",
    "write_rating",
]
