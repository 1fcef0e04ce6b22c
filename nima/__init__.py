"""Offers NIMA, Neural Image Assessment, to Python programs: scores photos. No module of `nima` knows of Golem.

>>> from nima import Scorer
>>> scorer = Scorer()  # the default model, fetched on first use; Scorer("model.safetensors") for another
>>> for score in scorer.score(["photo.jpg", "missing.jpg"]):
...     if score.error is not None:
...         print(score.error)
...     else:
...         print(f"{score.path}: {score.aesthetic_score:.2f}, above {score.percentile:.0f}% of {score.population}")
photo.jpg: 5.72, above 68% of AVA
missing.jpg: the file cannot be opened (No such file or directory).

A photo is a path, the bytes of a file, a file opened with "rb", an image of Pillow's or an array of RGB pixels. One
photo gives one score; kinds can be mixed, and any iterable of them is read as its scores are wanted:

>>> [round(score.aesthetic_score, 2) for score in scorer.score("photo.jpg")]
[5.72]
>>> from PIL import Image
>>> [round(score.aesthetic_score, 2) for score in scorer.score(Image.new("RGB", (64, 64), grey) for grey in ("black",))]
[4.06]
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nima.lazy import attach

if TYPE_CHECKING:
    from nima.photos import PhotoError
    from nima.scoring import Score, ScoreCache, Scorer
else:
    __getattr__, __dir__ = attach(__name__, {"photos": ["PhotoError"], "scoring": ["Score", "ScoreCache", "Scorer"]})

__all__ = ["PhotoError", "Score", "ScoreCache", "Scorer"]
