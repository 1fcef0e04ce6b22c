"""Opens a photo file of any format safely, as an upright RGB image with 8 bits a channel.

Files come from strangers. So only formats of photos are tried (no format that starts another program, as EPS does),
sizes are checked before pixels are decoded, and every exception of a decoder becomes a `PhotoError` with the reason.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from nima.photos.colour import to_srgb
from nima.photos.formats import MAX_PIXELS, PhotoError, TooLarge, decoded_size, explained, open_image
from nima.photos.jpeg import with_end
from nima.photos.raw import RAW_SUFFIXES, RawError, develop, read_raw
from nima.photos.room import DECODING
from nima.photos.sources import PhotoSource, ReadableSource, readable
from nima.safe_io import one_line

AVA_LONG_SIDE = 800
"""The longer side of AVA's largest photos, in pixels; models that learnt from them need no larger photos."""

_FAIR_PREVIEW = 480  # pixels on the longer side; a RAW file's preview of this size or more is used, not the sensor

_EXIF_ORIENTATION = 0x0112
_EXIF_IFD, _EXIF_TAKEN, _EXIF_SUBSECONDS, _EXIF_BIAS = 0x8769, 0x9003, 0x9291, 0x9204
_MOST_BIAS = 20  # stops
_UPRIGHT = {  # EXIF orientation → the transposition that turns the pixels upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# Pillow warns of large photos and of broken metadata. Sizes are checked here, and broken metadata does no harm.
warnings.filterwarnings("ignore", module=r"PIL\.")


@dataclass(frozen=True)
class Photo:
    """A decoded photo.

    image: RGB, upright, 8 bits a channel; smaller than the photo if `long_side` asked for it.
    width, height: sides of the whole photo, upright, in pixels.
    taken: the time of the photo, by the camera's clock; None if the photo does not say.
    exposure_bias: EXIF's ExposureBiasValue, in stops; None if the photo does not say.
    """

    image: Image.Image
    width: int
    height: int
    taken: datetime | None
    exposure_bias: float | None = None


def open_photo(source: PhotoSource, long_side: int | None = None) -> Image.Image:
    """Opens a photo as an upright RGB image of 8 bits; the arguments and errors are those of `read_photo`.

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
    """Decodes a photo from its path, from its file's bytes, from an open file, from Pillow's image or from pixels.

    The EXIF orientation is applied. Transparent pixels are laid over white. An animation gives its first frame.
    Palettes, greys, CMYK and 16 bits a channel become 8-bit RGB. Colours become sRGB by the file's ICC profile.

    Args:
        source: JPEG, PNG, WebP, HEIC, AVIF, TIFF, GIF, BMP, PPM or JPEG 2000; a path may also name a RAW file, which
            gives the camera's preview, or the developed sensor if the preview is small or missing. A JPEG that lacks
            at most 2% of its pixels at its end is decoded as viewers show it.
        long_side: largest number of pixels on the longer side. A larger photo is reduced with antialiasing (Lanczos),
            which is much faster than decoding all of a large JPEG. None keeps the size.

    Raises:
        PhotoError: the file is missing, is no photo, is damaged, or is too large to be opened safely; the message names
            the file and the reason.
        TypeError: the source is none of these, an array of another form, or a file in text mode.
    """
    photo = readable(source)
    with _errors_of(photo):
        if isinstance(photo, Image.Image):
            return _decode(photo, long_side)
        with closing(_open_file(photo)) as file:
            if isinstance(photo, (str, Path)) and Path(photo).suffix.lower() in RAW_SUFFIXES:
                return _decode_raw(Path(photo), long_side)
            return _decode_file(file, long_side)


def photo_size(content: bytes) -> tuple[int, int]:
    """Reads width and height in pixels, as stored (before any rotation), from the header of a file's content.

    Raises `PhotoError` as `read_photo` does.

    Example:
        >>> file = BytesIO()
        >>> Image.new("RGB", (60, 40)).save(file, "PNG")
        >>> photo_size(file.getvalue())
        (60, 40)
    """
    with _errors_of(content), open_image(BytesIO(content)) as image:
        return image.width, image.height


@contextmanager
def _errors_of(source: ReadableSource) -> Iterator[None]:
    """Turns every exception of the block into a `PhotoError` with the photo's name."""
    name = str(source) if isinstance(source, (str, Path)) else "The photo"
    try:
        yield
    except (PhotoError, RawError) as error:
        raise PhotoError(f"{name}: {error}") from error.__cause__
    except Image.DecompressionBombError:
        raise PhotoError(f"{name}: {TooLarge()}") from None
    except Exception as error:  # decoders raise nearly anything on files that are made to break them
        reason = one_line(str(error)).rstrip(".") or type(error).__name__  # some quote the file
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
    """Decodes a RAW file's own preview if it is large enough, and develops the sensor's values if not."""
    raw = read_raw(path)
    if raw.preview is not None:
        with open_image(BytesIO(raw.preview)) as preview:
            if max(preview.size) >= _FAIR_PREVIEW:
                # Some previews have their own orientation in EXIF. The others have none, and are stored either as the
                # sensor stands or upright already. LibRaw writes the sensor's orientation into both of these.
                upright = raw.orientation >= 5 and (preview.width > preview.height) == (raw.width > raw.height)
                photo = _decode(preview, long_side, 1 if upright else None)
                return Photo(photo.image, raw.width, raw.height, photo.taken or raw.taken, photo.exposure_bias)
    if raw.width * raw.height > MAX_PIXELS:
        raise TooLarge
    with DECODING.of(raw.width * raw.height):
        developed = Image.fromarray(develop(path))
    return Photo(_decode(developed, long_side).image, raw.width, raw.height, raw.taken)


def _decode(image: Image.Image, long_side: int | None, orientation: int | None = None) -> Photo:
    """Decodes an image; `orientation` (EXIF, 1 to 8) replaces the image's own unless it is None."""
    whole = image.size
    width, height = _fitted(whole, long_side)
    if (width, height) != whole:
        # A JPEG decodes at 1/2, 1/4 or 1/8 scale for less than the cost of the whole, and leaves less to resample.
        image.draft(None, (width, height))
    with DECODING.of(decoded_size(image)):
        return _decoded(image, whole, long_side, orientation)


def _decoded(image: Image.Image, whole: tuple[int, int], long_side: int | None, orientation: int | None) -> Photo:
    """Decodes an image that is opened, and perhaps drafted from the size `whole`, as `_decode` says."""
    drafted = image.size != whole
    image.load()
    if not drafted:
        whole = image.size  # Pillow turns TIFFs upright while it loads them
    rgb = _to_rgb(image)
    size = _fitted(whole, long_side)
    if rgb.size != size:
        rgb = rgb.resize(size, Image.Resampling.LANCZOS)
    # After the reduction, as fewer pixels are converted in less time.
    rgb = to_srgb(rgb, image.info.get("icc_profile"), grey=image.mode in _GREY_MODES)
    rgb.info.pop("icc_profile", None)  # it is no longer true, and would be written into thumbnails and pictures
    transpose = _UPRIGHT.get(_orientation(image) if orientation is None else orientation)
    if transpose is not None:
        rgb = rgb.transpose(transpose)
        if transpose not in _KEEP_SIDES:
            whole = (whole[1], whole[0])
    return Photo(rgb, *whole, _taken(image), _exposure_bias(image))


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
    """Returns the EXIF orientation, 1 to 8, or 1 if none can be read: the pixels may be intact all the same."""
    try:
        orientation = image.getexif().get(_EXIF_ORIENTATION, 1)
    except Exception:  # the parser of a block that anyone can write anything into
        return 1
    return orientation if isinstance(orientation, int) else 1


def _taken(image: Image.Image) -> datetime | None:
    """Returns EXIF's DateTimeOriginal with its fraction of a second (EXIF 2.3, 4.6.5); None if it cannot be read."""
    try:
        tags = image.getexif().get_ifd(_EXIF_IFD)
        fraction = str(tags.get(_EXIF_SUBSECONDS, "")).strip("\0 ")
        taken = datetime.strptime(str(tags[_EXIF_TAKEN]).strip("\0 "), "%Y:%m:%d %H:%M:%S")
        return taken.replace(microsecond=int(f"{fraction:0<6.6}") if fraction.isdecimal() else 0)
    except Exception:  # as above; many cameras write zeros or spaces if they do not know the time
        return None


def _exposure_bias(image: Image.Image) -> float | None:
    """Returns EXIF's ExposureBiasValue (EXIF 2.3, 4.6.5) in stops; None if it cannot be read or is none."""
    try:
        bias = float(image.getexif().get_ifd(_EXIF_IFD)[_EXIF_BIAS])
    except Exception:  # as above
        return None
    return bias if abs(bias) <= _MOST_BIAS else None  # this also leaves out 0/0, which is no number


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "CMYK":
        image = to_srgb(image, image.info.get("icc_profile"))
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _deep_grey_to_rgb(image)
    if "transparency" in image.info or image.mode in ("RGBA", "RGBa", "LA", "La", "PA"):
        # La and RGBa have no direct way to RGBA.
        straight = {"La": "LA", "RGBa": "RGBA"}.get(image.mode, image.mode)
        coloured = image if image.mode == "RGBA" else image.convert(straight).convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), coloured).convert("RGB")
    return image.copy() if image.mode == "RGB" else image.convert("RGB")


def _deep_grey_to_rgb(image: Image.Image) -> Image.Image:
    """Converts grey of 16 bits (0 to 65535) or of floats (0 to 1 if none is above 1, else 0 to 255) to 8-bit RGB."""
    grey = np.nan_to_num(np.asarray(image, dtype=np.float32))
    white = 65535.0
    if image.mode == "F":
        white = 1.0 if grey.max() <= 1 else 255.0
    eight_bit = np.rint(np.clip(grey / white, 0, 1) * 255).astype(np.uint8)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        eight_bit[grey == transparent] = 255
    return Image.fromarray(eight_bit).convert("RGB")
