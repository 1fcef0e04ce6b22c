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
GREYS_SIDE = 32
"""Number of places per side of an appearance's greys."""

_PLACES = 8  # per side; with two directions 8 · 8 · 2 bits


@dataclass(frozen=True)
class Appearance:
    """The facts about a photo's pixels that a score keeps.

    hash: difference hash of 128 bits.
    taken: the time of the photo, by the camera's clock; None if the photo does not tell.
    thumbnail: WebP of at most 320 pixels a side, without metadata; None if none was asked for.
    greys: 32 × 32 levels of grey, one byte each, row by row; None if they are not known.
    exposure_bias: the exposure that the photographer or a bracket added, in stops (EXIF's ExposureBiasValue); None if
        the photo does not tell.
    sharpness: standard deviation of the Laplacian of the greys, in levels of 0 to 255; to be compared within a burst
        only, because other motifs have other edges.
    exposure: mean luminance against middle grey (18%), in stops: −1 is half as bright.
    """

    hash: int
    taken: datetime | None
    thumbnail: bytes | None = None
    greys: bytes | None = None
    exposure_bias: float | None = None
    sharpness: float | None = None
    exposure: float | None = None


def appearance_of(photo: Photo, thumbnail: bool = False) -> Appearance:
    """Computes the hash and the figures of a photo and reads its time; encodes a thumbnail, too, if `thumbnail`."""
    grey = photo.image.convert("L")
    greys = grey.resize((GREYS_SIDE, GREYS_SIDE), Image.Resampling.BOX)
    return Appearance(
        difference_hash(grey),
        photo.taken,
        thumbnail_of(photo.image) if thumbnail else None,
        greys.tobytes(),
        photo.exposure_bias,
        round(sharpness_of(grey), 3),
        round(exposure_of(grey), 3),
    )


def sharpness_of(grey: Image.Image) -> float:
    """Computes the standard deviation of the Laplacian of a grey image (mode L), which falls with shake and blur.

    Source: Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy", 2000.
    """
    levels = np.asarray(grey, dtype=np.int16)
    if min(levels.shape) < 3:
        return 0.0
    laplacian = levels[:-2, 1:-1] + levels[2:, 1:-1]
    laplacian += levels[1:-1, :-2]
    laplacian += levels[1:-1, 2:]
    laplacian -= 4 * levels[1:-1, 1:-1]
    differences = laplacian.ravel().astype(np.float32)
    differences -= differences.mean()
    return float(np.sqrt(differences @ differences / differences.size))  # half the time of numpy's own deviation


def exposure_of(grey: Image.Image) -> float:
    """Computes the mean luminance of a grey image (mode L, sRGB's curve) against 18%, in stops; at least −8."""
    counts = np.asarray(grey.histogram(), dtype=np.float64)
    level = np.arange(256) / 255
    luminance = np.where(level <= 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4)  # IEC 61966-2-1
    mean = float(counts @ luminance / counts.sum())
    return float(np.log2(max(mean / 0.18, 2.0**-8)))


def difference_hash(image: Image.Image) -> int:
    """Computes 128 bits for an RGB or grey image of any size.

    64 bits say whether the right neighbour of each of 8 × 8 places is brighter, and 64 say the same of its lower one.

    Brighter is what differs by two levels of 255 or more, because noise makes flat places differ by one.
    """
    grey = np.asarray(image.convert("L").resize((_PLACES + 1, _PLACES + 1), Image.Resampling.BOX), dtype=np.int16)
    brighter = (grey[:-1, 1:] - grey[:-1, :-1] > 1, grey[1:, :-1] - grey[:-1, :-1] > 1)
    return int.from_bytes(np.packbits(np.stack(brighter)).tobytes(), "big")


def thumbnail_of(image: Image.Image) -> bytes:
    """Encodes an RGB image as a WebP of at most 320 pixels a side; a smaller image keeps its size."""
    small = image.copy()
    small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    small.save(file, "WEBP", quality=65, method=2)
    return file.getvalue()
