"""Why a model scores a photo as it does, found by changing the photo and scoring it again.

Two questions are asked. Which places hold the score up: each is blurred in turn, and by how much the score falls is its
weight (occlusion: Zeiler and Fergus 2014; blurred rather than painted over, as a grey square would be something new to
have an opinion of: Fong and Vedaldi 2017). And how crops, exposures and small rotations would move it.

Every figure is a difference of two scores, which anyone can check by making the same change. Each is a mean over copies
of the photo that look the same but are not quite, as one copy's score moves by as much as many a change does: for a
square of 224 pixels, it matters which of the photo's pixels it gets.

None of the figures says what makes a photo good. They are the model's opinion, and what is within their margins is not
even that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from nima.explain.photo_changes import EDITS, UNSEEN
from nima.photos import PhotoError, PhotoSource, open_photo
from nima.scoring import Score, Scorer

PLACES = 8
"""Places along each side of a photo; each of the 64 is blurred in turn."""

_SPOT = 0.1  # standard deviation of the blurred spot, as a share of the photo's sides
_BLUR = 0.05  # of what the spot shows, as a share of the longer side: shapes go, colours stay
_COPIES_FOR_PLACES = 3
_WORKING_SHARE = 2  # of the side that the model wants, so that crops of a large photo still have its pixels
_T_95 = 2.571  # Student's t of six copies, for an interval of 95%


@dataclass(frozen=True)
class Effect:
    """By how many points an edit (`kind`: crop, exposure, rotation) moves the score, within `margin` at 95%."""

    kind: str
    name: str
    difference: float
    margin: float

    @property
    def certain(self) -> bool:
        """Whether the difference is more than noise."""
        return abs(self.difference) > self.margin


@dataclass(frozen=True)
class Explanation:
    """What a model's score of one photo rests on.

    score: of the photo as it is.
    copies: scores of copies that nobody could tell from it.
    places: float64 `[8, 8]`, top left first: by how many points the score falls when that place is blurred.
    places_margin: points within which a place's value is, at 95%.
    effects: of crops, exposures and rotations.
    """

    score: Score
    copies: tuple[float, ...]
    places: NDArray[np.float64]
    places_margin: float
    effects: tuple[Effect, ...]

    def as_row(self) -> dict[str, Any]:
        """For JSON."""
        return self.score.as_row() | {
            "copies": self.copies,
            "places": self.places.tolist(),
            "places_margin": self.places_margin,
            "effects": [asdict(effect) | {"certain": effect.certain} for effect in self.effects],
        }


def explain_score(
    scorer: Scorer, photo: PhotoSource, progress: Callable[[int, int], None] | None = None
) -> Explanation:
    """Scores a photo some 350 times, changed a little each time.

    Args:
        progress: called with how many of the changed photos are scored, and how many there are.

    Raises:
        PhotoError: the photo cannot be read.
    """
    score = next(iter(scorer.score([photo])))
    if score.aesthetic_score is None:
        raise PhotoError(str(score.error))
    long_side = scorer.preparation.long_side
    working = open_photo(photo, _WORKING_SHARE * long_side)
    copies = [change(working) for change in UNSEEN]
    count = len(copies) * (1 + 2 * len(EDITS)) + _COPIES_FOR_PLACES * PLACES**2
    done = 0

    def points(images: Iterable[Image.Image]) -> NDArray[np.float64]:
        nonlocal done
        means = []
        for one in scorer.score(images):
            assert one.aesthetic_score is not None  # the images are decoded
            means.append(one.aesthetic_score)
            done += 1
            if progress is not None:
                progress(done, count)
        return np.array(means)

    of_copies = points(copies)
    before = points(edit.before(copy) for edit in EDITS for copy in copies)
    after = points(edit.after(copy) for edit in EDITS for copy in copies)
    moved = (after - before).reshape(len(EDITS), len(copies))
    small = [open_photo(copy, long_side) for copy in copies[:_COPIES_FOR_PLACES]]
    blurred = points(image for copy in small for image in _blurred_in_places(copy))
    falls = of_copies[:_COPIES_FOR_PLACES, None] - blurred.reshape(_COPIES_FOR_PLACES, -1)
    return Explanation(
        score=score,
        copies=tuple(of_copies.tolist()),
        places=falls.mean(axis=0).reshape(PLACES, PLACES),
        # Of all places together, as three copies say little of one alone.
        places_margin=2 * math.sqrt(falls.var(axis=0, ddof=1).mean() / _COPIES_FOR_PLACES),
        effects=tuple(
            Effect(
                edit.kind, edit.name, float(values.mean()), _T_95 * float(values.std(ddof=1)) / math.sqrt(len(values))
            )
            for edit, values in zip(EDITS, moved, strict=True)
        ),
    )


def _blurred_in_places(photo: Image.Image) -> Iterator[Image.Image]:
    """The photo with a soft spot of it blurred, place by place from the top left."""
    width, height = photo.size
    blurred = photo.filter(ImageFilter.GaussianBlur(_BLUR * max(photo.size)))
    # One spot in the middle of twice the photo's size; a window on it has the spot wherever it is wanted.
    y, x = np.ogrid[-1 : 1 : 2j * height, -1 : 1 : 2j * width]
    spot = Image.fromarray(np.rint(255 * np.exp(-(x**2 + y**2) / (2 * _SPOT**2))).astype(np.uint8))
    for row in range(PLACES):
        for column in range(PLACES):
            left, top = round(width * (1 - (column + 0.5) / PLACES)), round(height * (1 - (row + 0.5) / PLACES))
            yield Image.composite(blurred, photo, spot.crop((left, top, left + width, top + height)))
