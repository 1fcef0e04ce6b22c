"""Makes small changes to a photo: some that nobody would see, and some that a photographer might make."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from io import BytesIO

import numpy as np
from PIL import Image
from PIL.Image import Resampling

Change = Callable[[Image.Image], Image.Image]


def unchanged(photo: Image.Image) -> Image.Image:
    """Returns the photo itself."""
    return photo


@dataclass(frozen=True)
class Edit:
    """An edit that a photographer might make.

    kind: "crop", "exposure" or "rotation".
    name: name for people.
    after, before: make the two versions of the photo whose scores are compared; `before` returns the photo itself by
        default.
    """

    kind: str
    name: str
    after: Change
    before: Change = unchanged


def encoded(photo: Image.Image, quality: int) -> Image.Image:
    """Writes the photo as a JPEG of this quality and reads it again."""
    file = BytesIO()
    photo.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def resized(photo: Image.Image, scale: float) -> Image.Image:
    """Resizes the photo, with both sides multiplied by `scale`."""
    size = (max(1, round(photo.width * scale)), max(1, round(photo.height * scale)))
    return photo.resize(size, Resampling.LANCZOS)


def cropped(photo: Image.Image, left: float = 0, top: float = 0, right: float = 0, bottom: float = 0) -> Image.Image:
    """Cuts these shares off the photo's sides; at least one pixel is left."""
    width, height = photo.size
    x, y = round(left * width), round(top * height)
    return photo.crop((x, y, max(x + 1, round((1 - right) * width)), max(y + 1, round((1 - bottom) * height))))


def exposed(photo: Image.Image, stops: float) -> Image.Image:
    """Makes the photo brighter by `stops` exposure stops, in linear light (sRGB, IEC 61966-2-1), clipped at white."""
    coded = np.arange(256) / 255
    linear = np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)
    brighter = np.minimum(linear * 2**stops, 1)
    back = np.where(brighter <= 0.0031308, brighter * 12.92, 1.055 * brighter ** (1 / 2.4) - 0.055)
    return photo.point(np.rint(255 * back).astype(int).tolist() * 3)


def rotated(photo: Image.Image, degrees: float) -> Image.Image:
    """Rotates the photo clockwise, and crops it to the largest frame of the same shape that has no empty corners."""
    return cropped_as_rotated(photo.rotate(-degrees, Resampling.BICUBIC), degrees)


def cropped_as_rotated(photo: Image.Image, degrees: float) -> Image.Image:
    """Makes only the crop that `rotated` makes."""
    width, height = photo.size
    sine, cosine = math.sin(math.radians(abs(degrees))), math.cos(math.radians(degrees))
    kept = min(width / (width * cosine + height * sine), height / (width * sine + height * cosine))
    # One and a half pixels more, because the edge of a turned photo is blended with empty pixels.
    x, y = (1 - kept) / 2 + 1.5 / width, (1 - kept) / 2 + 1.5 / height
    return cropped(photo, x, y, x, y)


UNSEEN: tuple[Change, ...] = (
    unchanged,
    partial(encoded, quality=90),
    partial(resized, scale=0.97),
    partial(encoded, quality=80),
    partial(cropped, left=0.003, bottom=0.003),
    partial(cropped, top=0.005, right=0.005),
)
"""Copies that look the same as the photo; the first is the photo itself."""

EDITS: tuple[Edit, ...] = (
    Edit("crop", "10% off the left", partial(cropped, left=0.1)),
    Edit("crop", "10% off the right", partial(cropped, right=0.1)),
    Edit("crop", "10% off the top", partial(cropped, top=0.1)),
    Edit("crop", "10% off the bottom", partial(cropped, bottom=0.1)),
    Edit("crop", "5% off every side", partial(cropped, left=0.05, top=0.05, right=0.05, bottom=0.05)),
    Edit("exposure", "1 stop darker", partial(exposed, stops=-1.0)),
    Edit("exposure", "half a stop darker", partial(exposed, stops=-0.5)),
    Edit("exposure", "half a stop brighter", partial(exposed, stops=0.5)),
    Edit("exposure", "1 stop brighter", partial(exposed, stops=1.0)),
    # A rotation also crops the photo, so it is compared with the photo that has this crop alone.
    *(
        Edit("rotation", name, partial(rotated, degrees=degrees), partial(cropped_as_rotated, degrees=degrees))
        for name, degrees in (
            ("3° to the left", -3),
            ("1° to the left", -1),
            ("1° to the right", 1),
            ("3° to the right", 3),
        )
    ),
)
