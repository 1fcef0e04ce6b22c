"""What a photo looks like, in a few bytes: a hash that is nearly the same for near-duplicates, and a thumbnail.

The hash is a difference hash, which says of each place in a photo whether it gets brighter to the right and downwards
(after Neal Krawetz, "Kind of Like That", 2013, who looks to the right only). It stays nearly the same when a photo is
resized, compressed or brightened, and changes a little with what moves.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from PIL import Image

from nima.photos import Photo

HASH_BITS = 128
THUMBNAIL_SIDE = 320
"""Longer side of a thumbnail, in pixels."""

_PLACES = 8  # a side; with two directions 8 · 8 · 2 bits


@dataclass(frozen=True)
class Appearance:
    """What is kept of a photo's pixels.

    hash: difference hash of 128 bits.
    taken: when, by the camera's clock; None where the photo does not say.
    thumbnail: WebP of at most 320 pixels a side, without metadata; None where none was asked for.
    """

    hash: int
    taken: datetime | None
    thumbnail: bytes | None = None


def appearance_of(photo: Photo, thumbnail: bool = False) -> Appearance:
    """What to keep of a photo, with or without a thumbnail."""
    return Appearance(difference_hash(photo.image), photo.taken, thumbnail_of(photo.image) if thumbnail else None)


def difference_hash(image: Image.Image) -> int:
    """128 bits: of each of 8 × 8 places whether its right neighbour is brighter, then whether its lower one is."""
    grey = np.asarray(image.convert("L").resize((_PLACES + 1, _PLACES + 1), Image.Resampling.BOX))
    brighter = (grey[:-1, 1:] > grey[:-1, :-1], grey[1:, :-1] > grey[:-1, :-1])
    return int.from_bytes(np.packbits(np.stack(brighter)).tobytes(), "big")


def thumbnail_of(image: Image.Image) -> bytes:
    """A small WebP of an RGB image; one that is smaller already keeps its size."""
    small = image.copy()
    small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    small.save(file, "WEBP", quality=65, method=2)
    return file.getvalue()
