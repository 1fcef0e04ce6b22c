"""NIMA, Neural Image Assessment: the model, its data and its training. Knows nothing of Golem.

>>> from nima import Scorer
>>> scorer = Scorer()  # the default model, fetched on first use; Scorer(Path("model.safetensors")) for another
>>> for score in scorer.score(["photo.jpg", "missing.jpg"]):
...     if score.error is not None:
...         print(score.error)
...     else:
...         print(f"{score.path}: {score.aesthetic_score:.2f}, above {score.percentile:.0f}% of AVA")
photo.jpg: 5.72, above 68% of AVA
missing.jpg: the file cannot be opened (No such file or directory).

Paths, bytes of files and Pillow's images can be mixed, and any iterable of them is read as its scores are wanted:

>>> from PIL import Image
>>> [round(score.aesthetic_score, 2) for score in scorer.score(Image.new("RGB", (64, 64), grey) for grey in ("black",))]
[4.06]
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nima.photos import PhotoError
    from nima.score import Score
    from nima.score_cache import ScoreCache
    from nima.scoring import Scorer

__all__ = ["PhotoError", "Score", "ScoreCache", "Scorer"]

_MODULES = {"PhotoError": "photos", "Score": "score", "ScoreCache": "score_cache", "Scorer": "scoring"}


def __getattr__(name: str) -> Any:
    # Only when asked for: torch takes a second to import, and most of this package does without it.
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
