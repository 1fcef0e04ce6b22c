"""Explains a model's score of a photo: changes the photo and scores it again.

It measures two things. The first is the weight of each place: the place is blurred, and its weight is the fall of the
score (occlusion: Zeiler and Fergus 2014; the place is blurred and not painted grey, because the model would rate a grey
square as a new object: Fong and Vedaldi 2017). The second is the effect of crops, exposures and small rotations.

Every figure is a difference of two scores, which anyone can check by making the same change. Each is a mean over copies
of the photo that look the same and differ a little. One copy would not be enough: copies differ in their scores as much
as many of the changed photos do, because a score depends on which pixels become the pixels of a square of 224.

None of the figures says what makes a photo good. They are the model's opinion, and a figure within its margin is only
noise.
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
"""Number of places along each side of a photo; each of the 64 places is blurred in turn."""

_SPOT = 0.1  # standard deviation of the blurred spot, as a share of the photo's sides
_BLUR = 0.05  # standard deviation of the blur, as a share of the longer side: it removes shapes and keeps colours
_COPIES_FOR_PLACES = 3  # number of copies whose places are blurred
_WORKING_SHARE = 2  # longest side of a working copy, divided by the model's limit, so that its crops have enough pixels
_T_95 = 2.571  # Student's t of six copies, for an interval of 95%


@dataclass(frozen=True)
class Effect:
    """The effect of an edit on the score.

    kind: "crop", "exposure" or "rotation".
    name: name of the edit, for people.
    difference: points by which the edit raises the score.
    margin: half of the 95% interval of the difference, in points.
    """

    kind: str
    name: str
    difference: float
    margin: float

    @property
    def certain(self) -> bool:
        """Returns True if the difference is larger than its margin, so that it is more than noise."""
        return abs(self.difference) > self.margin


@dataclass(frozen=True)
class Explanation:
    """The reasons of a model's score of one photo.

    score: score of the unchanged photo.
    copies: mean ratings, 1 to 10, of copies that look the same.
    places: points by which the score falls if a place is blurred, float64 `[8, 8]`, from the top left.
    places_margin: half of the 95% interval of a place's value, in points.
    effects: effects of crops, exposures and rotations.
    """

    score: Score
    copies: tuple[float, ...]
    places: NDArray[np.float64]
    places_margin: float
    effects: tuple[Effect, ...]

    def as_row(self) -> dict[str, Any]:
        """Returns the explanation as JSON values: the fields of the score, then those of this class."""
        return self.score.as_row() | {
            "copies": self.copies,
            "places": self.places.tolist(),
            "places_margin": self.places_margin,
            "effects": [asdict(effect) | {"certain": effect.certain} for effect in self.effects],
        }


def explain_score(
    scorer: Scorer, photo: PhotoSource, progress: Callable[[int, int], None] | None = None
) -> Explanation:
    """Explains the score of a photo: scores some 350 changed versions of it.

    Args:
        scorer: the model to explain.
        photo: path of a file, bytes of a file, or an image of Pillow.
        progress: is called with the numbers of changed photos that are scored and of all changed photos.

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
        # One margin for all places, because three copies are too few to tell the margin of one place.
        places_margin=2 * math.sqrt(falls.var(axis=0, ddof=1).mean() / _COPIES_FOR_PLACES),
        effects=tuple(
            Effect(
                edit.kind, edit.name, float(values.mean()), _T_95 * float(values.std(ddof=1)) / math.sqrt(len(values))
            )
            for edit, values in zip(EDITS, moved, strict=True)
        ),
    )


def _blurred_in_places(photo: Image.Image) -> Iterator[Image.Image]:
    """Yields the photo with one soft spot blurred, place by place from the top left."""
    width, height = photo.size
    blurred = photo.filter(ImageFilter.GaussianBlur(_BLUR * max(photo.size)))
    # One spot in the middle of a mask of twice the photo's size; a crop of the mask moves the spot to any place.
    y, x = np.ogrid[-1 : 1 : 2j * height, -1 : 1 : 2j * width]
    spot = Image.fromarray(np.rint(255 * np.exp(-(x**2 + y**2) / (2 * _SPOT**2))).astype(np.uint8))
    for row in range(PLACES):
        for column in range(PLACES):
            left, top = round(width * (1 - (column + 0.5) / PLACES)), round(height * (1 - (row + 0.5) / PLACES))
            yield Image.composite(blurred, photo, spot.crop((left, top, left + width, top + height)))
