"""Opens any photo safely and alike: upright, RGB, 8 bit, or an error that says why not.

Files come from strangers. Only formats that photos are kept in are tried (never one that starts another
program, as EPS does), sizes are checked before pixels are decoded, and whatever a decoder raises becomes
`PhotoError`.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from nima.photos.colour import to_srgb
from nima.photos.formats import MAX_PIXELS, PhotoError, TooLarge, check_decoded_size, explained, open_image
from nima.photos.jpeg import with_end
from nima.photos.raw import RAW_SUFFIXES, RawError, develop, read_raw
from nima.photos.resizing import reduced

AVA_LONG_SIDE = 800
"""The longer side of AVA's largest photos, in pixels: models that learnt from them want no more."""

_FAIR_PREVIEW = 480  # pixels on the longer side, from which on a RAW file's preview does for the whole

_EXIF_ORIENTATION = 0x0112
_EXIF_IFD, _EXIF_TAKEN, _EXIF_SUBSECONDS = 0x8769, 0x9003, 0x9291
_UPRIGHT = {  # EXIF orientation → what turns the pixels upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# Pillow warns of large photos and of broken metadata: the ones are checked here, and the others do not matter.
warnings.filterwarnings("ignore", module=r"PIL\.")


PhotoSource: TypeAlias = str | Path | bytes | Image.Image


@dataclass(frozen=True)
class Photo:
    """`image`: RGB, upright, 8 bit; `width` and `height`: of the whole photo, upright, in pixels; `taken`: when, by the
    camera's clock, where the photo says so."""

    image: Image.Image
    width: int
    height: int
    taken: datetime | None


def open_photo(source: PhotoSource, long_side: int | None = None) -> Image.Image:
    """Opens a photo as an RGB image; see `read_photo`.

    Example:
        >>> open_photo(Image.new("L", (60, 40), 128)).mode
        'RGB'
        >>> open_photo("missing.jpg")
        Traceback (most recent call last):
        ...
        nima.photos.formats.PhotoError: missing.jpg: the file cannot be opened (No such file or directory).
    """
    return read_photo(source, long_side).image


def read_photo(source: PhotoSource, long_side: int | None = None) -> Photo:
    """Decode a photo: from its path, from the bytes of its file, or as Pillow has opened it.

    EXIF orientation is applied; transparency is laid over white; of an animation it is the first frame;
    palettes, greys, CMYK and 16 bits a channel become 8-bit RGB; colours become sRGB by the file's ICC profile.

    Args:
        source: JPEG, PNG, WebP, HEIC, AVIF, TIFF, GIF, BMP, PPM or JPEG 2000; by its path also RAW, of which it is the
            camera's preview.
        long_side: bring larger photos down to this many pixels on their longer side, with antialiasing; those
            that fit are left as they are. Much faster than decoding all of a large JPEG.

    Raises:
        PhotoError: names the file and the reason.
    """
    with _errors_of(source):
        if isinstance(source, Image.Image):
            return _decode(source, long_side)
        with closing(_open_file(source)) as file:
            if isinstance(source, (str, Path)) and Path(source).suffix.lower() in RAW_SUFFIXES:
                return _decode_raw(Path(source), long_side)
            return _decode_file(file, long_side)


def photo_size(content: bytes) -> tuple[int, int]:
    """Returns width and height in pixels, as stored, from the header of a file's content; raises `PhotoError`.

    Example:
        >>> file = BytesIO()
        >>> Image.new("RGB", (60, 40)).save(file, "PNG")
        >>> photo_size(file.getvalue())
        (60, 40)
    """
    with _errors_of(content), open_image(BytesIO(content)) as image:
        return image.width, image.height


@contextmanager
def _errors_of(source: PhotoSource) -> Iterator[None]:
    """Whatever goes wrong inside becomes a `PhotoError` with the photo's name."""
    name = str(source) if isinstance(source, (str, Path)) else "The photo"
    try:
        yield
    except (PhotoError, RawError) as error:
        raise PhotoError(f"{name}: {error}") from error.__cause__
    except Image.DecompressionBombError:
        raise PhotoError(f"{name}: {TooLarge()}") from None
    except Exception as error:  # decoders raise nearly anything on files that are made to break them
        reason = str(error).rstrip(".") or type(error).__name__
        raise PhotoError(f"{name}: the photo is damaged or cannot be read ({reason}).") from error


def _open_file(source: str | Path | bytes) -> BinaryIO:
    if isinstance(source, bytes):
        return BytesIO(source)
    path = Path(source)
    try:
        if path.exists() and not path.is_file():  # opening a pipe would wait for ever
            raise PhotoError("this is no file.")
        return path.open("rb")
    except OSError as error:
        raise PhotoError(f"the file cannot be opened ({error.strerror}).") from error


def _decode_file(file: BinaryIO, long_side: int | None) -> Photo:
    with open_image(file) as image:
        try:
            return _decode(image, long_side)
        except PhotoError:
            raise
        except Exception as error:
            content = _mended(image, file)
            if content is None:
                raise explained(error, file) from error
    with open_image(BytesIO(content)) as image:
        return _decode(image, long_side)


def _mended(image: Image.Image, file: BinaryIO) -> bytes | None:
    """Returns the file of a JPEG that lacks its end, with an end; None if it has other damage."""
    if not isinstance(image, JpegImageFile):
        return None
    file.seek(0)
    try:
        return with_end(file.read())
    except Exception:  # as decoders raise
        return None


def _decode_raw(path: Path, long_side: int | None) -> Photo:
    """The file's own preview where that is large enough."""
    raw = read_raw(path)
    if raw.preview is not None:
        with open_image(BytesIO(raw.preview)) as preview:
            if max(preview.size) >= _FAIR_PREVIEW:
                # Some previews say how they lie, some lie as the sensor does, and some are upright without a word.
                # LibRaw gives the sensor's orientation to the last two.
                upright = raw.orientation >= 5 and (preview.width > preview.height) == (raw.width > raw.height)
                photo = _decode(preview, long_side, 1 if upright else None)
                return Photo(photo.image, raw.width, raw.height, photo.taken or raw.taken)
    if raw.width * raw.height > MAX_PIXELS:
        raise TooLarge
    return Photo(_decode(Image.fromarray(develop(path)), long_side).image, raw.width, raw.height, raw.taken)


def _decode(image: Image.Image, long_side: int | None, orientation: int | None = None) -> Photo:
    """`orientation` is the image's own where None."""
    whole = image.size
    width, height = _fitted(whole, long_side)
    if (width, height) != whole:
        # A JPEG decodes at 1/2, 1/4 or 1/8 scale for less than the cost of the whole, and leaves less to resample.
        image.draft(None, (width, height))
    drafted = image.size != whole
    check_decoded_size(image)
    image.load()
    if not drafted:
        whole = image.size  # Pillow turns TIFFs upright while it loads them
    rgb = _to_rgb(image)
    size = _fitted(whole, long_side)
    if rgb.size != size:
        rgb = reduced(rgb, size)
    # After the reduction, as fewer pixels are converted in less time.
    rgb = to_srgb(rgb, image.info.get("icc_profile"), grey=image.mode in _GREY_MODES)
    rgb.info.pop("icc_profile", None)  # it is no longer true, and would be written into thumbnails and pictures
    transpose = _UPRIGHT.get(_orientation(image) if orientation is None else orientation)
    if transpose is not None:
        rgb = rgb.transpose(transpose)
        if transpose not in _KEEP_SIDES:
            whole = (whole[1], whole[0])
    return Photo(rgb, *whole, _taken(image))


_GREY_MODES = ("1", "L", "LA", "La", "I", "F", "I;16", "I;16L", "I;16B", "I;16N")
_KEEP_SIDES = (
    Image.Transpose.FLIP_LEFT_RIGHT,
    Image.Transpose.ROTATE_180,
    Image.Transpose.FLIP_TOP_BOTTOM,
)


def _fitted(size: tuple[int, int], long_side: int | None) -> tuple[int, int]:
    longest = max(size)
    if long_side is None or longest <= long_side:
        return size
    return (max(1, round(size[0] * long_side / longest)), max(1, round(size[1] * long_side / longest)))


def _orientation(image: Image.Image) -> int:
    """EXIF orientation 1..8, or 1 where there is none that can be read: the pixels may well be sound."""
    try:
        orientation = image.getexif().get(_EXIF_ORIENTATION, 1)
    except Exception:  # the parser of a block that anyone can write anything into
        return 1
    return orientation if isinstance(orientation, int) else 1


def _taken(image: Image.Image) -> datetime | None:
    """EXIF's DateTimeOriginal with its fraction of a second (EXIF 2.3, 4.6.5), or None where it cannot be read."""
    try:
        tags = image.getexif().get_ifd(_EXIF_IFD)
        fraction = str(tags.get(_EXIF_SUBSECONDS, "")).strip("\0 ")
        taken = datetime.strptime(str(tags[_EXIF_TAKEN]).strip("\0 "), "%Y:%m:%d %H:%M:%S")
        return taken.replace(microsecond=int(f"{fraction:0<6.6}") if fraction.isdecimal() else 0)
    except Exception:  # as above; many cameras write zeros or spaces where they do not know
        return None


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "CMYK":
        image = to_srgb(image, image.info.get("icc_profile"))
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _deep_grey_to_rgb(image)
    if "transparency" in image.info or image.mode in ("RGBA", "RGBa", "LA", "La", "PA"):
        opaque = Image.new("RGBA", image.size, "white")
        # La and RGBa have no direct way to RGBA.
        straight = {"La": "LA", "RGBa": "RGBA"}.get(image.mode, image.mode)
        opaque.alpha_composite(image.convert(straight).convert("RGBA"))
        return opaque.convert("RGB")
    return image.copy() if image.mode == "RGB" else image.convert("RGB")


def _deep_grey_to_rgb(image: Image.Image) -> Image.Image:
    """Grey of 16 bits (0..65535) or of floats (0..1 where none is above 1, else 0..255)."""
    grey = np.nan_to_num(np.asarray(image, dtype=np.float32))
    white = 65535.0
    if image.mode == "F":
        white = 1.0 if grey.max() <= 1 else 255.0
    eight_bit = np.rint(np.clip(grey / white, 0, 1) * 255).astype(np.uint8)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        eight_bit[grey == transparent] = 255
    return Image.fromarray(eight_bit).convert("RGB")
