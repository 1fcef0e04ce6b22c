"""Knows the formats of photos: their suffixes, how each is opened, and the names of those that cannot be read."""

from __future__ import annotations

from io import BytesIO
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TiffImageFile

from nima.errors import NimaError
from nima.photos import jpeg, tiff
from nima.photos.raw import RAW_SUFFIXES

MAX_PIXELS = 178_956_970
"""Limit of the pixels that are decoded: Pillow's own against decompression bombs."""

# fmt: off
PHOTO_SUFFIXES = frozenset({
    ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".heic", ".heif", ".hif", ".heics", ".heifs",
    ".avif", ".avifs", ".tif", ".tiff", ".gif", ".bmp", ".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".jpf", ".jpx",
}) | RAW_SUFFIXES
# fmt: on
"""The suffixes of photos' file names, in lower case."""

# The first four are what Pillow knows at once; the others make it import all of its plugins.
_FORMATS = ("PNG", "GIF", "BMP", "PPM", "WEBP", "TIFF", "JPEG2000")
_PNG = b"\x89PNG\r\n\x1a\n"
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_JPEG_XL = (b"\xff\x0a", b"\0\0\0\x0cJXL ")
_MOST_BRANDS = 1024  # bytes


class PhotoError(NimaError):
    """A file that is missing, no photo, damaged, or too large to be opened safely."""


class TooLarge(PhotoError):
    """A photo of more pixels than are safe to decode."""

    def __init__(self, limit: int = MAX_PIXELS) -> None:
        super().__init__(f"the photo has more than {limit / 1e6:.0f} megapixels, which is not safe to open.")


def open_image(file: BinaryIO) -> Image.Image:
    """Reads the header only. Raises `PhotoError` with a message that follows the file's name, or what Pillow raises.

    A JPEG may have `jpeg.MAX_STORED_PIXELS`, as it can be decoded at a reduced scale; see `decoded_size`.
    """
    start = file.read(12)
    file.seek(0)
    if not start:
        raise PhotoError("the file is empty.")
    try:
        image = _opened(file, start)
    except (SyntaxError, UnidentifiedImageError):
        kind = _unusual_kind(file, start)
        if kind is None:
            raise PhotoError("this is no photo in a known format.") from None
        advice = "Convert it to a common JPEG, PNG or TIFF."
        raise PhotoError(f"this is {kind}, which cannot be read here. {advice}") from None
    limit = jpeg.MAX_STORED_PIXELS if isinstance(image, JpegImageFile) else MAX_PIXELS
    if image.width * image.height > limit:
        raise TooLarge(limit)
    return image


def decoded_size(image: Image.Image) -> int:
    """Returns the pixels whose memory the decoding takes, at the scale that `image.draft` has chosen.

    Raises `TooLarge` if they are too many.
    """
    if isinstance(image, JpegImageFile) and image.tile:
        pixels = jpeg.decoded_pixels(image)
        if pixels > MAX_PIXELS:
            raise TooLarge
        return pixels
    return image.width * image.height


def explained(error: Exception, file: BinaryIO) -> Exception:
    """Returns a `PhotoError` that names the kind of a JPEG that could not be decoded, or else the error itself."""
    file.seek(0)
    start = file.read(12)
    kind = _unusual_kind(file, start) if start.startswith(b"\xff\xd8\xff") else None
    return error if kind is None else PhotoError(f"this is {kind}, which cannot be read here ({error}).")


def _opened(file: BinaryIO, start: bytes) -> Image.Image:
    if start.startswith(b"\xff\xd8\xff"):
        return jpeg.opened(file)
    if start[4:8] == b"ftyp":
        if _is_avif(file):
            return Image.open(file, formats=("AVIF",))
        import pillow_heif  # only here, as most photos need none of it

        pillow_heif.register_heif_opener()
        return Image.open(file, formats=("HEIF",))
    try:
        image = Image.open(file, formats=_FORMATS)
    except ValueError:
        if not start.startswith(_PNG):
            raise
        image = Image.open(_without_profile(file), formats=("PNG",))
    if isinstance(image, TiffImageFile):
        tiff.go_to_full_page(image)
        tiff.use_libtiff_for_deep_planes(image)
    return image


def _is_avif(file: BinaryIO) -> bool:
    """Returns whether one of the brands of an ISO base media file (ISO 14496-12, 4.3) is AVIF's.

    The major brand is often mif1, which says only that there are images in the file.
    """
    size = int.from_bytes(file.read(4), "big")
    box = file.read(min(max(8, size - 4), _MOST_BRANDS))
    file.seek(0)
    major, brands = box[4:8], {box[at : at + 4] for at in range(12, len(box), 4)}
    return major in (b"avif", b"avis") or (not major.startswith(b"he") and not brands.isdisjoint((b"avif", b"avis")))


def _without_profile(file: BinaryIO) -> BinaryIO:
    """Returns a PNG without its colour profile, as Pillow refuses the photo if the profile is very large."""
    file.seek(0)
    content, rest = file.read(8), file.read()
    at = 0
    while at + 12 <= len(rest):
        end = at + 12 + int.from_bytes(rest[at : at + 4], "big")
        if rest[at + 4 : at + 8] != b"iCCP":
            content += rest[at:end]
        if rest[at + 4 : at + 8] == b"IDAT":
            return BytesIO(content + rest[end:])
        at = end
    return BytesIO(content)


def _unusual_kind(file: BinaryIO, start: bytes) -> str | None:
    """Returns the name of a kind of photo that this program does not read; None for anything else."""
    file.seek(0)
    if start.startswith(b"\xff\xd8\xff"):
        return jpeg.unusual_kind(file.read())
    if start.startswith(_TIFF):
        return tiff.unusual_kind(file)
    return "a JPEG XL" if start.startswith(_JPEG_XL) else None
