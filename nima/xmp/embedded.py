"""Finds the rating and the label inside a photo file: in its XMP, or in the tag that Windows writes into EXIF."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from nima.photos import open_image
from nima.xmp.packet import XmpError, label_in, property_values, rating_in

_BEGIN, _END = b"<x:xmpmeta", b"</x:xmpmeta>"
_BLOCK = 1 << 20
_MAX_PACKET = 1 << 20  # bytes; a JPEG has room for 65,502, and RAW files use some kilobytes
_MAX_PACKETS = 32
_TIFF = (b"II*\0", b"MM\0*")  # also the start of most RAW files
_EXIF_RATING = 0x4746


@dataclass(frozen=True)
class Properties:
    """The properties of a photo that a person gives.

    rating: −1 (rejected) or 1 to 5; None for none or 0.
    label: the colour label, such as "Red"; None for none.
    """

    rating: int | None = None
    label: str | None = None


def properties_inside(photo: Path) -> Properties:
    """Returns the properties inside a photo file, as `properties_of` does. Raises `OSError` if it cannot be read."""
    with photo.open("rb") as file:
        return properties_of(file)


def properties_of(file: BinaryIO) -> Properties:
    """Returns the properties inside an open photo, read from its start; a damaged file has none.

    XMP stands in all formats as plain text that can be searched for (Adobe, "XMP Specification", 2012: Part 3, 1.1). So
    this also holds for RAW files and for formats that no library here reads.
    """
    rating = label = None
    for packet in _packets(file):
        try:
            rating = rating or rating_in(packet)
            label = label or label_in(packet)
        except XmpError:  # no other program can read this either
            continue
    file.seek(0)
    return Properties(rating or _exif_rating(file), label)


def ratings_of(file: BinaryIO) -> list[str]:
    """Returns the texts of all ratings in the XMP of an open photo, read from its start; also of those that say 0."""
    found: list[str] = []
    file.seek(0)
    for packet in _packets(file):
        with suppress(XmpError):
            found += property_values(packet, "Rating")
    return found


def _packets(file: BinaryIO) -> Iterator[bytes]:
    """Yields the texts of XMP in a file."""
    read, tried = b"", 0
    while tried < _MAX_PACKETS and (block := file.read(_BLOCK)):
        read += block
        while tried < _MAX_PACKETS:
            start = read.find(_BEGIN)
            if start < 0:
                read = read[-len(_BEGIN) :]
                break
            end = read.find(_END, start, start + _MAX_PACKET)
            if end < 0 and len(read) - start < _MAX_PACKET:
                read = read[start:]
                break
            tried += 1
            if end >= 0:
                yield read[start : end + len(_END)]
            read = read[start + len(_BEGIN) if end < 0 else end + len(_END) :]


def _exif_rating(file: BinaryIO) -> int | None:
    try:
        exif = Image.Exif()
        if file.read(4) in _TIFF:
            file.seek(0)
            exif.load_from_fp(file)
        else:
            file.seek(0)
            with open_image(file) as image:
                exif.load(image.info.get("exif", b""))
        rating = exif.get(_EXIF_RATING)
    except Exception:  # the parser of a block that anyone can write anything into
        return None
    return rating or None if isinstance(rating, int) else None
