"""Turns any photo file into upright 8-bit RGB, with its capture time, hash and thumbnail.

Example:
    >>> import io
    >>> from PIL import Image
    >>> from nima.photos import AVA_LONG_SIDE, appearance_of, read_photo
    >>> file = io.BytesIO()
    >>> Image.new("RGB", (1200, 800), "green").save(file, "JPEG")
    >>> photo = read_photo(file.getvalue(), long_side=AVA_LONG_SIDE)
    >>> photo.image.size, (photo.width, photo.height), photo.taken
    ((800, 533), (1200, 800), None)
    >>> appearance_of(photo).hash  # no place of one colour is brighter than another
    0
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nima.lazy import attach

if TYPE_CHECKING:
    from nima.photos.appearance import DIFFERENCE_HASH_BITS, GREYS_SIDE, Appearance, appearance_of
    from nima.photos.formats import PHOTO_SUFFIXES, PhotoError, open_image
    from nima.photos.raw import RAW_SUFFIXES
    from nima.photos.reading import AVA_LONG_SIDE, Photo, open_photo, photo_size, read_photo
    from nima.photos.sources import PhotoSource, is_photo_source, path_of
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "appearance": ["Appearance", "DIFFERENCE_HASH_BITS", "GREYS_SIDE", "appearance_of"],
            "formats": ["PHOTO_SUFFIXES", "PhotoError", "open_image"],
            "raw": ["RAW_SUFFIXES"],
            "reading": ["AVA_LONG_SIDE", "Photo", "open_photo", "photo_size", "read_photo"],
            "sources": ["PhotoSource", "is_photo_source", "path_of"],
        },
    )

__all__ = [
    "AVA_LONG_SIDE",
    "DIFFERENCE_HASH_BITS",
    "GREYS_SIDE",
    "PHOTO_SUFFIXES",
    "RAW_SUFFIXES",
    "Appearance",
    "Photo",
    "PhotoError",
    "PhotoSource",
    "appearance_of",
    "is_photo_source",
    "open_image",
    "open_photo",
    "path_of",
    "photo_size",
    "read_photo",
]
