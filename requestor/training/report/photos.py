"""Chooses test photos that show what the model has learnt: the highest and lowest predictions, the largest errors."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from nima.ava import image_path
from nima.photos import PhotoError, open_photo
from nima.ratings import BUCKETS, mean_rating
from requestor.training.report.record import Tested

SHOWN = 6  # photos in a row
SIDE, QUALITY = 320, 74  # longer side in pixels, twice as many as it is shown with, and JPEG quality of a picture
BARS = (100, 28)  # width and height of the drawing of two distributions


@dataclass(frozen=True)
class ShownPhoto:
    """A test photo as the report shows it.

    image_id: the photo's id.
    picture: the photo as a `data:` URI; None if its file cannot be read any more.
    predicted, rated: its mean predicted and mean given rating, 1 to 10.
    distributions: a drawing of the two distributions.
    """

    image_id: int
    picture: str | None
    predicted: float
    rated: float
    distributions: Markup


@dataclass(frozen=True)
class Gallery:
    """Photos with the highest predictions, the lowest predictions, and the largest errors."""

    highest: list[ShownPhoto]
    lowest: list[ShownPhoto]
    misses: list[ShownPhoto]


def gallery(tested: Tested) -> Gallery:
    """Chooses `SHOWN` photos of each kind, or all if there are fewer; of equal ones, the lower ids come first."""
    by_id = np.argsort(tested.image_ids, kind="stable")
    predicted, rated = mean_rating(tested.predicted)[by_id], mean_rating(tested.rated)[by_id]

    def photos(order: NDArray[np.float64]) -> list[ShownPhoto]:
        return [_shown(tested, int(by_id[row])) for row in np.argsort(order, kind="stable")[:SHOWN]]

    return Gallery(photos(-predicted), photos(predicted), photos(-np.abs(predicted - rated)))


def _shown(tested: Tested, row: int) -> ShownPhoto:
    image_id = int(tested.image_ids[row])
    predicted, rated = tested.predicted[row], tested.rated[row]
    try:
        picture = _data_uri(open_photo(image_path(tested.ava, image_id), SIDE))
    except PhotoError:
        picture = None
    return ShownPhoto(
        image_id, picture, float(mean_rating(predicted)), float(mean_rating(rated)), _bars(rated, predicted)
    )


def _data_uri(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def _bars(rated: NDArray[np.float64], predicted: NDArray[np.float64]) -> Markup:
    """Draws two distributions `[10]`: bars for the ratings, a line for the prediction."""
    (width, height), highest = BARS, max(rated.max(), predicted.max())
    column = width / BUCKETS
    bars = Markup("").join(
        Markup('<rect class="rated" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>').format(
            index * column + 0.5, height - share * height, column - 1, share * height
        )
        for index, share in enumerate((rated / highest).tolist())
    )
    points = " ".join(
        f"{(index + 0.5) * column:.1f},{height - share * height:.1f}"
        for index, share in enumerate((predicted / highest).tolist())
    )
    return Markup(
        '<svg class="bars" viewBox="0 -1 {} {}" preserveAspectRatio="none" aria-hidden="true">{}'
        '<polyline class="predicted" points="{}"/></svg>'
    ).format(width, height + 2, bars, points)
