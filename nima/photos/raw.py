"""Reads RAW files with rawpy (LibRaw): the preview that the camera wrote, and the developed values of the sensor.

rawpy is an extra, `nima-golem[raw]`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nima.errors import NimaError

# fmt: off
RAW_SUFFIXES = frozenset({
    ".3fr", ".arw", ".bay", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".fff", ".gpr", ".iiq", ".k25", ".kdc",
    ".mef", ".mos", ".mrw", ".nef", ".nrw", ".orf", ".ori", ".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf",
    ".srw", ".x3f",
})
# fmt: on
"""The suffixes of RAW files, in lower case; the content alone often looks like a TIFF."""

# LibRaw's orientation → EXIF's
_ORIENTATIONS = {0: 1, 1: 2, 2: 4, 3: 3, 4: 5, 5: 8, 6: 6, 7: 7}
_TURNED = 4  # the bit of LibRaw's orientation that swaps the sides


class RawError(NimaError):
    """A RAW file cannot be read here; the caller puts the name of the file before the message."""


@dataclass(frozen=True)
class Raw:
    """The contents of a RAW file, without the sensor's values.

    preview: the bytes of a JPEG; LibRaw adds the sensor's orientation to its EXIF if the camera wrote none there. None
        if the file has no preview in JPEG.
    orientation: the sensor's, as in EXIF, 1 to 8.
    width, height: sides of the whole photo, upright, in pixels.
    taken: the time of the photo, by the camera's clock; None if the camera wrote none.
    """

    preview: bytes | None
    orientation: int
    width: int
    height: int
    taken: datetime | None


def read_raw(path: Path) -> Raw:
    """Reads everything except the sensor's values. Raises `RawError` if rawpy is missing or LibRaw rejects the file."""
    with _opened(path) as (rawpy, file):
        try:
            thumbnail = file.extract_thumb()
            preview = thumbnail.data if thumbnail.format == rawpy.ThumbFormat.JPEG else None
        except rawpy.LibRawError:  # no preview, or one in a format that LibRaw does not know
            preview = None
        sizes, taken = file.sizes, file.other.timestamp
        upright = (sizes.height, sizes.width) if sizes.flip & _TURNED else (sizes.width, sizes.height)
        known = taken.timestamp() > 0  # cameras without a clock write nothing, which LibRaw reads as 0
        return Raw(preview, _ORIENTATIONS[sizes.flip], *upright, taken if known else None)


def develop(path: Path) -> NDArray[np.uint8]:
    """Develops the sensor's values into an upright picture of half its sides, uint8 `[H, W, 3]` in sRGB.

    Uses the camera's white balance. Raises `RawError` if rawpy is missing or LibRaw rejects the file.
    """
    with _opened(path) as (_, file):
        picture: NDArray[np.uint8] = file.postprocess(half_size=True, use_camera_wb=True)
        return np.broadcast_to(picture, (*picture.shape[:2], 3))  # a sensor without a colour filter has one channel


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Any]]:
    """Yields the module rawpy, and the file as rawpy opens it."""
    try:
        import rawpy
    except ImportError:
        raise RawError("RAW files need rawpy, which comes with: pip install 'nima-golem[raw]'.") from None
    try:
        with rawpy.imread(str(path)) as file:
            yield rawpy, file
    except rawpy.LibRawError as error:
        raise RawError(f"this is no RAW file that LibRaw can read ({error.args[0].decode()}).") from error
