"""Reads and writes the ratings of photos in XMP: in sidecars as photo managers have them, and inside photos.

Example:
    >>> import tempfile
    >>> from pathlib import Path
    >>> from nima.xmp import PhotoRater, sidecar_path
    >>> folder = tempfile.TemporaryDirectory()
    >>> photo = Path(folder.name, "1.jpg")
    >>> photo.touch()
    >>> rater = PhotoRater("darktable")
    >>> [(result.rating, result.kept) for result in (rater.rate(photo, 4), rater.rate(photo, 2))]
    [(4, False), (4, True)]
    >>> sidecar_path(photo, "lightroom").name
    '1.xmp'
    >>> folder.cleanup()
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nima.lazy import attach

if TYPE_CHECKING:
    from nima.xmp.embedded import properties_inside
    from nima.xmp.exiftool import find_exiftool
    from nima.xmp.packet import NEW_XMP, XmpError, with_property
    from nima.xmp.rating import PhotoRater, RatingPlace, RatingResult
    from nima.xmp.sidecars import sidecar_path
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "embedded": ["properties_inside"],
            "exiftool": ["find_exiftool"],
            "packet": ["NEW_XMP", "XmpError", "with_property"],
            "rating": ["PhotoRater", "RatingPlace", "RatingResult"],
            "sidecars": ["sidecar_path"],
        },
    )

__all__ = [
    "NEW_XMP",
    "PhotoRater",
    "RatingPlace",
    "RatingResult",
    "XmpError",
    "find_exiftool",
    "properties_inside",
    "sidecar_path",
    "with_property",
]
