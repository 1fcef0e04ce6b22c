"""Photos of every kind are opened correctly; broken or malicious files raise `PhotoError`."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from nima.photos.reading import PhotoError, open_photo, read_photo

SHARED_PHOTOS = Path(__file__).resolve().parents[4] / "shared" / "data" / "photos"
LOSSY = 12  # grey levels by which a codec may change a smooth picture


def scene(width: int = 64, height: int = 48) -> Image.Image:
    """Draws a smooth picture that differs in all its corners: red grows to the right, green downwards."""
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([x, y, 255 - x], axis=2).astype(np.uint8))


def encoded(image: Image.Image, format: str, **options: object) -> bytes:
    file = BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def heic(image: Image.Image) -> bytes:
    file = BytesIO()
    pillow_heif.from_pillow(image).save(file, quality=90)
    return file.getvalue()


def pixels(source: bytes | Path | Image.Image) -> NDArray[np.int16]:
    return np.asarray(open_photo(source)).astype(np.int16)


def with_orientation(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()


@pytest.mark.parametrize(
    "file",
    [
        encoded(scene(), "JPEG", quality=95),
        encoded(scene(), "JPEG", quality=95, progressive=True),
        encoded(scene(), "PNG"),
        encoded(scene(), "BMP"),
        encoded(scene(), "PPM"),
        encoded(scene(), "TIFF"),
        encoded(scene(), "TIFF", compression="tiff_lzw"),
        encoded(scene(), "WEBP", quality=95),
        encoded(scene(), "GIF"),
        encoded(scene(), "AVIF", quality=95),
        encoded(scene(), "JPEG2000"),
        encoded(scene(), "MPO"),
        heic(scene()),
    ],
    ids=lambda file: repr(file[:12]),
)
def test_every_format_opens_as_the_same_rgb_picture(file: bytes) -> None:
    photo = open_photo(file)
    assert photo.mode == "RGB"
    assert np.abs(pixels(file) - np.asarray(scene())).mean() < LOSSY


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(format: str, orientation: int) -> None:
    # The pixels that a camera stores for each orientation, so that undoing it gives the scene: EXIF 2.3, table 6.
    stored = {
        1: lambda image: image,
        2: lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        3: lambda image: image.rotate(180),
        4: lambda image: image.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
        5: lambda image: image.transpose(Image.Transpose.TRANSPOSE),
        6: lambda image: image.rotate(90, expand=True),
        7: lambda image: image.transpose(Image.Transpose.TRANSVERSE),
        8: lambda image: image.rotate(-90, expand=True),
    }[orientation](scene())
    photo = read_photo(encoded(stored, format, exif=with_orientation(orientation)))
    assert (photo.width, photo.height) == photo.image.size == (64, 48)
    assert np.abs(np.asarray(photo.image).astype(np.int16) - np.asarray(scene())).mean() < LOSSY


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff", b"Exif\0\0" + b"A" * 99]
)
def test_a_broken_exif_block_costs_nothing_but_the_orientation(exif: bytes) -> None:
    assert open_photo(encoded(scene(), "JPEG", exif=exif)).size == (64, 48)


def half_transparent(mode: str) -> Image.Image:
    """Draws a black picture, with the right half transparent."""
    alpha = Image.new("L", (8, 4), 255)
    alpha.paste(0, (4, 0, 8, 4))
    image = Image.new("RGBA", (8, 4), "black")
    image.putalpha(alpha)
    return image.convert(mode)


def transparent_index(mode: str) -> Image.Image:
    """Draws a palette or grey picture of value 0 with its right half 1, which is the transparent value."""
    values = np.tile(np.repeat([0, 1], 4), (4, 1))
    if mode == "I;16":
        return Image.fromarray(values.astype(np.uint16))
    image = Image.fromarray(values.astype(np.uint8))
    if mode == "P":
        image.putpalette([0, 0, 0, 255, 0, 0])
    return image


@pytest.mark.parametrize(
    "file",
    [
        encoded(half_transparent("RGBA"), "PNG"),
        encoded(half_transparent("LA"), "PNG"),
        encoded(half_transparent("RGBA"), "WEBP", lossless=True),
        encoded(half_transparent("RGBA"), "TIFF"),
        encoded(transparent_index("P"), "PNG", transparency=1),
        encoded(transparent_index("P"), "PNG", transparency=b"\xff\x00"),
        encoded(transparent_index("P"), "GIF", transparency=1),
        encoded(transparent_index("L"), "PNG", transparency=1),
        encoded(transparent_index("I;16"), "PNG", transparency=1),
    ],
    ids=["RGBA", "LA", "WebP", "TIFF", "palette", "palette alphas", "GIF", "grey", "16-bit grey"],
)
def test_transparency_is_laid_over_white(file: bytes) -> None:
    assert (pixels(file)[:, :4] == 0).all()
    assert (pixels(file)[:, 4:] == 255).all()


def test_half_transparency_is_blended() -> None:
    image = Image.new("RGBA", (1, 1), (0, 0, 0, 128))
    assert open_photo(encoded(image, "PNG")).getpixel((0, 0)) == (127, 127, 127)


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "PA", "La", "RGBa", "CMYK", "YCbCr", "HSV", "I;16", "I", "F"])
def test_every_mode_of_a_grey_picture_gives_its_grey(mode: str) -> None:
    grey = np.tile(np.array([0, 85, 170, 255], dtype=np.uint8), (4, 1))
    image = Image.fromarray(grey)
    if mode == "1":
        image = image.point(lambda value: 255 * (value > 127))
    elif mode in ("I;16", "I"):
        image = Image.fromarray(grey.astype(np.uint16) * 257)
        image = image.convert("I") if mode == "I" else image
    elif mode == "F":
        image = Image.fromarray(grey.astype(np.float32) / 255)
    elif mode in ("La", "RGBa"):
        image = image.convert(mode.upper()).convert(mode)
    elif mode in ("P", "PA"):
        image.putpalette([value for value in range(256) for _ in "RGB"])
        image = image.convert(mode)
    else:
        image = image.convert("RGB").convert(mode)
    expected = np.where(grey > 127, 255, 0) if mode == "1" else grey
    assert np.abs(pixels(image) - expected[..., np.newaxis]).max() <= 2


def test_sixteen_bits_are_scaled_and_not_cut_off() -> None:
    ramp = np.tile(np.linspace(0, 65535, 256).astype(np.uint16), (2, 1))
    assert np.abs(pixels(encoded(Image.fromarray(ramp), "PNG"))[0, :, 0] - np.arange(256)).max() <= 1
    assert np.abs(pixels(encoded(Image.fromarray(ramp), "TIFF"))[0, :, 0] - np.arange(256)).max() <= 1


def test_a_cmyk_jpeg_is_not_inverted() -> None:
    assert np.abs(pixels(encoded(scene().convert("CMYK"), "JPEG", quality=95)) - np.asarray(scene())).mean() < LOSSY


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF", "AVIF"])
def test_an_animation_gives_its_first_frame(format: str) -> None:
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "lime", "blue")]
    file = encoded(frames[0], format, save_all=True, append_images=frames[1:])
    assert np.abs(pixels(file) - (255, 0, 0)).max() < 40


@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 120), st.integers(1, 8))
@settings(max_examples=60, deadline=None)
def test_a_photo_is_fitted_and_keeps_its_size_on_record(width: int, height: int, long_side: int, turned: int) -> None:
    file = encoded(Image.new("RGB", (width, height)), "JPEG", exif=with_orientation(turned))
    photo = read_photo(file, long_side)
    upright = (width, height) if turned < 5 else (height, width)
    assert (photo.width, photo.height) == upright
    scale = min(1, long_side / max(width, height))
    assert photo.image.size == pytest.approx([max(1, side * scale) for side in upright], abs=0.51)


def test_a_photo_that_fits_is_left_exactly_as_it_is() -> None:
    file = encoded(scene(), "JPEG")
    assert (pixels(file) == np.asarray(open_photo(file, long_side=64))).all()


def test_a_large_photo_is_reduced_by_pillow_on_every_machine() -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (301, 420, 3), dtype=np.uint8))
    small = open_photo(encoded(noise, "PNG"), long_side=151)
    assert small.tobytes() == noise.resize((151, 108), Image.Resampling.LANCZOS).tobytes()


@pytest.mark.skipif(not SHARED_PHOTOS.is_dir(), reason="needs real photos")
def test_decoding_at_reduced_scale_looks_like_the_full_decode() -> None:
    for name in ("china.jpg", "kodim23.png", "chelsea.png"):
        large = open_photo(SHARED_PHOTOS / name).resize((3200, 2400), Image.Resampling.BICUBIC)
        file = encoded(large, "JPEG", quality=92)
        reduced = np.asarray(open_photo(file, long_side=800)).astype(np.int16)
        full = np.asarray(open_photo(file).resize((800, 600), Image.Resampling.LANCZOS)).astype(np.int16)
        assert np.abs(reduced - full).mean() < 1.5  # of 255
        # Single pixels would be further off.
        nearest = np.asarray(open_photo(file).resize((800, 600), Image.Resampling.NEAREST)).astype(np.int16)
        assert np.abs(reduced - full).mean() < np.abs(nearest - full).mean()


# Hostile files.


def png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """Writes a PNG file of exactly these chunks after a header that claims this size."""
    header = (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    content = b"\x89PNG\r\n\x1a\n"
    for kind, body in (header, *chunks, (b"IEND", b"")):
        content += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return content


def claim(file: bytes, marker: bytes, width: int, height: int) -> bytes:
    """Returns a JPEG whose frame header claims another size."""
    at = file.index(marker) + 5
    return file[:at] + struct.pack(">HH", height, width) + file[at + 4 :]


HOSTILE = {
    "empty": b"",
    "one byte": b"\xff",
    "text": b"This is no photo.\n" * 50,
    "html": b"<!doctype html><img src=x>",
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><rect width="9" height="9"/></svg>',
    "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n",
    "zip": b"PK\x03\x04" + b"\0" * 60,
    "png bomb": png(50_000, 50_000, (b"IDAT", zlib.compress(b"\0" * 1000))),
    "png of the largest size": png(2**31 - 1, 2**31 - 1, (b"IDAT", zlib.compress(b"\0"))),
    "png without size": png(0, 0, (b"IDAT", zlib.compress(b"\0"))),
    "png without pixels": png(9, 9),
    "png with a text bomb": png(9, 9, (b"zTXt", b"k\0\0" + zlib.compress(b"\0" * 200_000_000, 9))),
    "png with a colour profile bomb": png(9, 9, (b"iCCP", b"k\0\0" + zlib.compress(b"\0" * 200_000_000, 9))),
    "jpeg bomb": claim(encoded(scene(), "JPEG"), b"\xff\xc0", 65_500, 65_500),
    "jpeg with nothing but a start": b"\xff\xd8\xff\xe0",
    "gif bomb": b"GIF89a"
    + struct.pack("<HHBBB", 65_535, 65_535, 0, 0, 0)
    + b","
    + struct.pack("<HHHHB", 0, 0, 65_535, 65_535, 0)
    + b"\x02\x02L\x01\0;",
    "bmp bomb": encoded(scene(), "BMP")[:18] + struct.pack("<ii", 60_000, 60_000) + encoded(scene(), "BMP")[26:],
    "ppm bomb": b"P6 99999 99999 255\n" + b"\0" * 100,
    "tiff with a circle of directories": b"II*\0\x08\0\0\0" + struct.pack("<H", 0) + struct.pack("<I", 8),
    "heic with nothing in it": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
    "avif with nothing in it": b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf",
    "webp with a wrong size": b"RIFF\xff\xff\xff\xffWEBPVP8 ",
    "jpeg 2000 with nothing in it": b"\0\0\0\x0cjP  \r\n\x87\n",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_one_clear_error(name: str, tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(HOSTILE[name])
    with pytest.raises(PhotoError) as raised:
        open_photo(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert str(raised.value).endswith(".")
    with pytest.raises(PhotoError):
        open_photo(path, long_side=800)


def test_a_bomb_costs_no_memory(tmp_path: Path) -> None:
    bombs = [name for name in HOSTILE if "bomb" in name]
    for name in bombs:
        (tmp_path / name).write_bytes(HOSTILE[name])
    program = (
        "import resource, sys\nfrom nima.photos.reading import PhotoError, open_photo\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for path in sys.argv[1:]:\n    try:\n        open_photo(path)\n    except PhotoError:\n        pass\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)"
    )
    arguments = [str(tmp_path / name) for name in bombs]
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 300  # MiB; the pixels of one alone would take 7,000


def test_the_limit_is_on_pixels_and_not_on_sides() -> None:
    long = encoded(Image.new("L", (50_000, 20)), "PNG")
    assert open_photo(long, long_side=100).size == (100, 1)


VALID = {
    "JPEG": encoded(scene(), "JPEG"),
    "progressive JPEG": encoded(scene(), "JPEG", progressive=True, exif=with_orientation(6)),
    "PNG": encoded(scene(), "PNG"),
    "palette PNG": encoded(transparent_index("P"), "PNG", transparency=1),
    "GIF": encoded(scene(), "GIF"),
    "WebP": encoded(scene(), "WEBP"),
    "TIFF": encoded(scene(), "TIFF", compression="tiff_lzw"),
    "BMP": encoded(scene(), "BMP"),
    "AVIF": encoded(scene(), "AVIF"),
    "JPEG 2000": encoded(scene(), "JPEG2000"),
    "HEIC": heic(scene()),
}


@pytest.mark.parametrize("format", VALID)
def test_a_file_cut_in_the_middle_is_an_error(format: str) -> None:
    file = VALID[format]
    with pytest.raises(PhotoError):
        open_photo(file[: len(file) * 2 // 3])


@given(st.sampled_from(sorted(VALID)), st.data())
@settings(max_examples=250, deadline=None)
def test_damage_gives_a_picture_or_an_error_and_nothing_else(format: str, data: st.DataObject) -> None:
    file = bytearray(VALID[format])
    for _ in range(data.draw(st.integers(1, 8))):
        file[data.draw(st.integers(0, len(file) - 1))] = data.draw(st.integers(0, 255))
    del file[data.draw(st.integers(1, len(file))) :]
    try:
        photo = open_photo(bytes(file), data.draw(st.sampled_from([None, 16])))
    except PhotoError:
        return
    assert photo.mode == "RGB"


@given(st.binary(max_size=200))
@settings(max_examples=100, deadline=None)
def test_bytes_at_random_are_an_error(content: bytes) -> None:
    with pytest.raises(PhotoError):
        open_photo(content)


def test_what_is_no_file_is_an_error_and_a_pipe_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for path in (tmp_path, tmp_path / "missing", tmp_path / "pipe", tmp_path / "loop", tmp_path / ("x" * 300)):
        with pytest.raises(PhotoError):
            open_photo(path)
