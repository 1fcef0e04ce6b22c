"""Turns any photo file into upright 8-bit RGB, with its capture time, hash and thumbnail."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nima.lazy import attach

if TYPE_CHECKING:
    from nima.photos.appearance import HASH_BITS, Appearance, appearance_of
    from nima.photos.reading import AVA_LONG_SIDE, SUFFIXES, PhotoError, Source, open_photo, photo_size, read_photo
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "appearance": ["Appearance", "HASH_BITS", "appearance_of"],
            "reading": ["AVA_LONG_SIDE", "PhotoError", "SUFFIXES", "Source", "open_photo", "photo_size", "read_photo"],
        },
    )

__all__ = [
    "AVA_LONG_SIDE",
    "HASH_BITS",
    "SUFFIXES",
    "Appearance",
    "PhotoError",
    "Source",
    "appearance_of",
    "open_photo",
    "photo_size",
    "read_photo",
]
