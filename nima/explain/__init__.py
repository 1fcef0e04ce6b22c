"""Explains why a photo has its score, as figures and as a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nima.lazy import attach

if TYPE_CHECKING:
    from nima.explain.explanation import Explanation, explain_score
    from nima.explain.picture import draw_explanation
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "explanation": ["Explanation", "explain_score"],
            "picture": ["draw_explanation"],
        },
    )

__all__ = ["Explanation", "draw_explanation", "explain_score"]
