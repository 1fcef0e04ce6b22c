"""Draws photos that an owner who likes warm colours has rated with stars, in XMP sidecars."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from drawn_photos import picture
from PIL import Image

from nima.xmp import PhotoRater


def draw_tinted(path: Path, seed: int) -> float:
    """Writes a photo with a tint between blue and orange; returns how warm the tint is, −1 to 1."""
    warmth = float(np.random.default_rng([seed, 7]).uniform(-1, 1))
    tint = Image.new("RGB", (64, 48), (128 + round(100 * warmth), 110, 128 - round(100 * warmth)))
    Image.blend(picture(seed, 64, 48), tint, 0.6).save(path)
    return warmth


def draw_rated_photos(folder: Path, photos: int, rated: int) -> list[float]:
    """Draws photos `000.jpg`, …, of which the first `rated` have the stars of the owner; returns how warm each is."""
    folder.mkdir(parents=True, exist_ok=True)
    rater, warm = PhotoRater("darktable"), []
    for index in range(photos):
        path = folder / f"{index:03}.jpg"
        warm.append(draw_tinted(path, index))
        if index < rated:
            rater.rate(path, stars_for(warm[-1]))
    return warm


def stars_for(warmth: float) -> int:
    """Returns the stars of the owner, 1 to 5, for a photo that is so warm, −1 to 1."""
    return int(np.clip(np.floor(2.5 * (warmth + 1)), 0, 4)) + 1
