"""Opens TIFFs: finds the full page, reads 16-bit channels that are stored apart, and names what cannot be read."""

from __future__ import annotations

from typing import BinaryIO

from PIL import ImageFile
from PIL.TiffImagePlugin import ImageFileDirectory_v2, TiffImageFile

# Tags and values of TIFF 6.0
_NEW_SUBFILE_TYPE, _SUBFILE_TYPE = 254, 255
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _CHANNELS, _PLANAR, _SAMPLE_FORMAT = (
    256,
    257,
    258,
    259,
    262,
    277,
    284,
    339,
)
_APART, _FLOATING_POINT = 2, 3

_MOST_PAGES = 32  # that are searched for a full one


def go_to_full_page(image: TiffImageFile) -> None:
    """Moves to the first page that is not marked as a reduced-size version of another; stays if there is none."""
    page = 0
    while _is_reduced(image):
        page += 1
        try:
            if page == _MOST_PAGES:
                raise EOFError
            image.seek(page)
        except EOFError:
            image.seek(0)
            return


def _is_reduced(image: TiffImageFile) -> bool:
    tags = image.tag_v2
    return bool(int(tags.get(_NEW_SUBFILE_TYPE, 0)) & 1) or tags.get(_SUBFILE_TYPE) == 2


def use_libtiff_for_deep_planes(image: TiffImageFile) -> None:
    """Has libtiff decode 16-bit channels that are stored apart, as Pillow's own decoder takes bytes for pixels."""
    tags = image.tag_v2
    if tags.get(_PLANAR) != _APART or max(tags.get(_BITS, (1,))) != 16 or len(image.getbands()) == 1:
        return
    if image.tile and image.tile[0].codec_name != "libtiff":
        extents = (0, 0, tags[_WIDTH], tags[_HEIGHT])
        image.tile = [ImageFile._Tile("libtiff", extents, 0, (f"{image.mode};16N", False, tags.offset))]
        image.use_load_libtiff = True


def unusual_kind(file: BinaryIO) -> str | None:
    """Returns the kind of a TIFF, such as "a TIFF of 32-bit floating-point numbers"; None if it cannot be told."""
    file.seek(0)
    try:
        tags = ImageFileDirectory_v2(file.read(8))
        file.seek(tags.next)
        tags.load(file)
        bits = max(tags.get(_BITS, (1,)))
        if _FLOATING_POINT in tags.get(_SAMPLE_FORMAT, ()):
            return f"a TIFF of {bits}-bit floating-point numbers"
        return (
            f"a TIFF of {tags.get(_CHANNELS, 1)} channels with {bits} bits each "
            f"(colour model {tags.get(_PHOTOMETRIC, 'unknown')}, compression {tags.get(_COMPRESSION, 1)})"
        )
    except Exception:  # anything can be in a file
        return None
