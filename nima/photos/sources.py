"""Defines how a photo may be given: by its path, as bytes or an open file, as an image, or as an array of pixels."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import BinaryIO, TypeAlias, TypeGuard

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nima.photos.formats import PhotoError

PhotoSource: TypeAlias = (
    str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | Image.Image | NDArray[np.uint8]
)
"""A path, the bytes of a file, a file opened with "rb", an image of Pillow's, or RGB pixels uint8 `[H, W, 3]`."""

# Photos are read in several threads, and one open file may be given twice: two threads would move its position.
_reading = threading.Lock()

ReadableSource: TypeAlias = str | Path | bytes | Image.Image


def is_photo_source(value: object) -> TypeGuard[PhotoSource]:
    """Returns whether a value stands for one photo, although one could iterate over some of them."""
    kinds = (str, os.PathLike, bytes, bytearray, memoryview, Image.Image, np.ndarray)
    return isinstance(value, kinds) or hasattr(value, "read")


def path_of(source: PhotoSource) -> str:
    """Returns the path of a photo that is given by its path, and "" for the others."""
    return os.fsdecode(source) if isinstance(source, (str, os.PathLike)) else ""


def readable(source: PhotoSource) -> ReadableSource:
    """Reduces the kinds of sources to four; reads an open file from its position, and sets it back there if it can.

    Raises:
        TypeError: the value is no source, is an array of another form, or is a file in text mode.
        PhotoError: the open file cannot be read.
    """
    if isinstance(source, (str, bytes, Image.Image)):
        return source
    if isinstance(source, os.PathLike):
        return Path(os.fsdecode(source))
    if isinstance(source, (bytearray, memoryview)):
        return bytes(source)
    if isinstance(source, np.ndarray):
        if source.dtype != np.uint8 or source.ndim != 3 or source.shape[2] != 3 or source.size == 0:
            raise TypeError(
                f"An array of pixels must be uint8 of shape [H, W, 3] in RGB, not {source.dtype} of shape "
                f"{list(source.shape)}."
            )
        return Image.fromarray(np.ascontiguousarray(source))
    if hasattr(source, "read"):
        content = _content(source)
        if not isinstance(content, bytes):
            raise TypeError('A file of a photo must be opened with "rb", not as text.')
        return content
    raise TypeError(
        'A photo is a path, the bytes of a file, a file opened with "rb", an image of Pillow\'s or an array uint8 of '
        f"shape [H, W, 3], not a value of type {type(source).__name__}."
    )


def _content(file: BinaryIO) -> object:
    with _reading:
        return _content_alone(file)


def _content_alone(file: BinaryIO) -> object:
    try:
        seekable = file.seekable() if hasattr(file, "seekable") else False
        position = file.tell() if seekable else 0
        content = file.read()
        if seekable:
            file.seek(position)
    except (OSError, ValueError) as error:  # a closed file raises a ValueError
        raise PhotoError(f"The photo: the open file cannot be read ({error}).") from error
    return content
