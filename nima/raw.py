"""RAW files by way of rawpy (LibRaw): the preview that the camera put in, or, without a fair one, the developed sensor.

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
    ".3fr", ".arw", ".cr2", ".cr3", ".dng", ".erf", ".iiq", ".nef", ".nrw", ".orf", ".pef", ".raf", ".rw2", ".srw",
})
# fmt: on
"""What the names of RAW files end in, in lower case; their content alone often looks like a TIFF."""

# LibRaw's turn → EXIF's orientation
_ORIENTATIONS = {0: 1, 1: 2, 2: 4, 3: 3, 4: 5, 5: 8, 6: 6, 7: 7}
_TURNED = 4  # the bit of LibRaw's turn that swaps the sides


class RawError(NimaError):
    """A RAW file that cannot be read here; the message ends a sentence that names the file."""


@dataclass(frozen=True)
class Raw:
    """What a RAW file holds.

    preview: a JPEG's bytes, with the sensor's orientation in its EXIF where the camera wrote none; None without one.
    orientation: EXIF's, 1 to 8, of the sensor.
    width, height: of the whole photo, upright, in pixels.
    taken: when, by the camera's clock.
    """

    preview: bytes | None
    orientation: int
    width: int
    height: int
    taken: datetime | None


def read_raw(path: Path) -> Raw:
    """What is beside the sensor's values. Raises `RawError`."""
    with _opened(path) as (rawpy, file):
        try:
            thumbnail = file.extract_thumb()
            preview = thumbnail.data if thumbnail.format == rawpy.ThumbFormat.JPEG else None
        except rawpy.LibRawError:  # none, or one in a format that LibRaw does not know
            preview = None
        sizes, taken = file.sizes, file.other.timestamp
        upright = (sizes.height, sizes.width) if sizes.flip & _TURNED else (sizes.width, sizes.height)
        known = taken.timestamp() > 0  # cameras without a clock write nothing, which LibRaw makes 0
        return Raw(preview, _ORIENTATIONS[sizes.flip], *upright, taken if known else None)


def develop(path: Path) -> NDArray[np.uint8]:
    """The sensor's values as an upright picture of half its sides, `[H, W, 3]` in sRGB, in the camera's white balance.

    Raises `RawError`.
    """
    with _opened(path) as (_, file):
        picture: NDArray[np.uint8] = file.postprocess(half_size=True, use_camera_wb=True)
        return np.broadcast_to(picture, (*picture.shape[:2], 3))  # a sensor without a colour filter has one channel


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Any]]:
    """rawpy, and the file as it opens it."""
    try:
        import rawpy
    except ImportError:
        raise RawError("RAW files need rawpy, which comes with: pip install 'nima-golem[raw]'.") from None
    try:
        with rawpy.imread(str(path)) as file:
            yield rawpy, file
    except rawpy.LibRawError as error:
        raise RawError(f"this is no RAW file that LibRaw can read ({error.args[0].decode()}).") from error
