"""Embedded ICC profiles are obeyed in every format; sRGB, broken and huge profiles leave the pixels as they are."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from drawn_photos import picture
from drawn_profiles import PALE_GREY, PRINT_CMYK, SRGB, WIDE_RGB
from numpy.typing import NDArray
from PIL import Image, ImageCms

from nima.photos.appearance import thumbnail_of
from nima.photos.colour import MAX_PROFILE_BYTES
from nima.photos.reading import open_photo

CASES = Path(__file__).resolve().parents[4] / "shared" / "cases" / "photos"
PICTURE = picture(3, 64, 48)


def saved(image: Image.Image, format: str, **options: object) -> bytes:
    file = BytesIO()
    if format == "HEIF":
        heif = pillow_heif.from_pillow(image)
        heif.info["icc_profile"], heif.info["icc_profile_type"] = options.pop("icc_profile", None), "prof"
        heif.save(file, quality=95, **options)
    else:
        image.save(file, format, **options)
    return file.getvalue()


def pixels(source: bytes | Image.Image) -> NDArray[np.int16]:
    return np.asarray(open_photo(source)).astype(np.int16)


def by_littlecms(image: Image.Image, profile: bytes, intent: int) -> NDArray[np.int16]:
    """Converts the image to sRGB as a viewer does."""
    source, srgb = ImageCms.ImageCmsProfile(BytesIO(profile)), ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(image, source, srgb, renderingIntent=intent, outputMode="RGB")
    return np.asarray(converted).astype(np.int16)


@pytest.mark.parametrize(
    ("format", "options", "tolerance"),
    [
        ("PNG", {}, 0),
        ("TIFF", {}, 0),
        ("TIFF", {"compression": "tiff_lzw"}, 0),
        ("WEBP", {"lossless": True, "exact": True}, 0),
        ("JPEG", {"quality": 95, "subsampling": 0}, 6),
        ("AVIF", {"quality": 95, "subsampling": "4:4:4"}, 6),
        ("HEIF", {}, 12),
    ],
)
def test_the_profile_of_a_photo_is_obeyed(format: str, options: dict[str, object], tolerance: int) -> None:
    plain = saved(PICTURE, format, **options)
    wide = saved(PICTURE, format, icc_profile=WIDE_RGB, **options)
    stored = open_photo(plain)
    expected = by_littlecms(stored, WIDE_RGB, ImageCms.Intent.RELATIVE_COLORIMETRIC)
    assert np.abs(expected - pixels(plain)).mean() > 10  # so that the test can fail
    assert np.abs(pixels(wide) - expected).max() <= tolerance


def test_srgb_changes_no_pixel() -> None:
    assert (pixels(saved(PICTURE, "JPEG", icc_profile=SRGB)) == pixels(saved(PICTURE, "JPEG"))).all()


def test_a_large_photo_is_converted_after_its_reduction() -> None:
    large = PICTURE.resize((1600, 1200), Image.Resampling.BICUBIC)
    reduced = open_photo(saved(large, "JPEG", quality=95, icc_profile=WIDE_RGB), long_side=400)
    expected = by_littlecms(large.resize((400, 300)), WIDE_RGB, ImageCms.Intent.RELATIVE_COLORIMETRIC)
    assert np.abs(np.asarray(reduced).astype(np.int16) - expected).mean() < 2


@pytest.mark.parametrize("format", ["JPEG", "TIFF"])
def test_cmyk_is_converted_with_perceptual_intent(format: str) -> None:
    options = {"quality": 100, "subsampling": 0} if format == "JPEG" else {}
    cmyk = PICTURE.convert("CMYK")
    expected = by_littlecms(cmyk, PRINT_CMYK, ImageCms.Intent.PERCEPTUAL)
    assert np.abs(expected - np.asarray(PICTURE)).mean() > 10
    assert np.abs(pixels(saved(cmyk, format, icc_profile=PRINT_CMYK, **options)) - expected).mean() < 2


@pytest.mark.parametrize("mode", ["L", "LA", "I;16"])
def test_grey_with_a_profile_for_grey_is_converted(mode: str) -> None:
    grey = np.tile(np.arange(0, 256, 5, dtype=np.uint8), (4, 1))
    image = Image.fromarray(grey.astype(np.uint16) * 257) if mode == "I;16" else Image.fromarray(grey).convert(mode)
    expected = by_littlecms(Image.fromarray(grey), PALE_GREY, ImageCms.Intent.RELATIVE_COLORIMETRIC)
    assert np.abs(expected[..., 0] - grey).max() > 5
    assert (pixels(saved(image, "PNG", icc_profile=PALE_GREY)) == expected).all()


def test_a_palette_is_converted() -> None:
    palette = PICTURE.quantize(32)
    expected = by_littlecms(palette.convert("RGB"), WIDE_RGB, ImageCms.Intent.RELATIVE_COLORIMETRIC)
    assert (pixels(saved(palette, "PNG", icc_profile=WIDE_RGB)) == expected).all()


@pytest.mark.parametrize(
    "profile",
    [
        b"no profile",
        WIDE_RGB[:100],
        WIDE_RGB[:128] + b"\xff" * (len(WIDE_RGB) - 128),
        PALE_GREY,
        PRINT_CMYK,
        WIDE_RGB + b"\0" * MAX_PROFILE_BYTES,
    ],
    ids=["text", "cut", "bad tags", "for grey", "for CMYK", "huge"],
)
def test_a_profile_that_cannot_be_used_is_ignored(profile: bytes) -> None:
    assert (pixels(saved(PICTURE, "TIFF", icc_profile=profile)) == np.asarray(PICTURE)).all()


def test_an_opened_photo_is_converted_once() -> None:
    once = open_photo(saved(PICTURE, "PNG", icc_profile=WIDE_RGB))
    assert (pixels(once) == np.asarray(once)).all()
    assert "icc_profile" not in once.info
    assert b"ICCP" not in thumbnail_of(once)


@pytest.mark.skipif(not CASES.is_dir(), reason="needs the shared cases")
@pytest.mark.parametrize("name", ["p3.png", "a98.png", "rommrgb.png"])
def test_shared_cases_have_the_pixels_of_their_conversion(name: str) -> None:
    right = json.loads((CASES / "right.json").read_text())[name]
    ours = np.asarray(open_photo(CASES / name)).astype(np.int16)
    assert np.abs(ours - np.asarray(Image.open(CASES / right["pixels"]).convert("RGB"))).max() <= 1
