"""Explains why a photo has its score, as figures and as a picture.

Example:
    >>> import numpy as np
    >>> from PIL import Image
    >>> from nima.explain import Explanation, draw_explanation
    >>> from nima.scoring import Score
    >>> score = Score.of("photo.jpg", [0, 0, 0, 0, 0.5, 0.5, 0, 0, 0, 0], "drawn@00000000", width=60, height=40)
    >>> explanation = Explanation(  # `explain_score(Scorer(), "photo.jpg")` measures one
    ...     score, copies=(5.4, 5.6), places=np.zeros((8, 8)), places_margin=0.1, effects=()
    ... )
    >>> draw_explanation(explanation, Image.new("RGB", (60, 40))).width
    1200
"""

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
