"""Explains why a photo has its score, as figures and as a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nima.lazy import attach

if TYPE_CHECKING:
    from nima.explain.explanation import Explanation, explain
    from nima.explain.picture import draw
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "explanation": ["Explanation", "explain"],
            "picture": ["draw"],
        },
    )

__all__ = ["Explanation", "draw", "explain"]
