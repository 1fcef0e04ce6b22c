"""Describes the look of a photo in a few bytes: a hash that near-duplicates nearly share, and a thumbnail.

The hash is a difference hash: it tells of each place in a photo whether it gets brighter to the right and downwards
(after Neal Krawetz, "Kind of Like That", 2013, who compares to the right only). It stays nearly the same if a photo is
resized, compressed or brightened, and changes a little if something in it moves.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from PIL import Image

from nima.photos.reading import Photo

DIFFERENCE_HASH_BITS = 128
THUMBNAIL_SIDE = 320
"""Longer side of a thumbnail, in pixels."""

_PLACES = 8  # per side; with two directions 8 · 8 · 2 bits


@dataclass(frozen=True)
class Appearance:
    """The facts about a photo's pixels that a score keeps.

    hash: difference hash of 128 bits.
    taken: the time of the photo, by the camera's clock; None if the photo does not tell.
    thumbnail: WebP of at most 320 pixels a side, without metadata; None if none was asked for.
    """

    hash: int
    taken: datetime | None
    thumbnail: bytes | None = None


def appearance_of(photo: Photo, thumbnail: bool = False) -> Appearance:
    """Computes the hash of a photo and reads its time; encodes a thumbnail, too, if `thumbnail`."""
    return Appearance(difference_hash(photo.image), photo.taken, thumbnail_of(photo.image) if thumbnail else None)


def difference_hash(image: Image.Image) -> int:
    """Computes 128 bits for an RGB image of any size: 64 say whether the right neighbour of each of 8 × 8 places is
    brighter, and 64 say the same of its lower neighbour.
    """
    grey = np.asarray(image.convert("L").resize((_PLACES + 1, _PLACES + 1), Image.Resampling.BOX))
    brighter = (grey[:-1, 1:] > grey[:-1, :-1], grey[1:, :-1] > grey[:-1, :-1])
    return int.from_bytes(np.packbits(np.stack(brighter)).tobytes(), "big")


def thumbnail_of(image: Image.Image) -> bytes:
    """Encodes an RGB image as a WebP of at most 320 pixels a side; a smaller image keeps its size."""
    small = image.copy()
    small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    small.save(file, "WEBP", quality=65, method=2)
    return file.getvalue()
