"""Ratings inside photos, in each format that can hold one."""

from __future__ import annotations

from pathlib import Path

import pillow_heif
import pytest
from drawn_photos import picture
from hypothesis import given
from hypothesis import strategies as st
from photo_metadata import exiftool, needs_exiftool
from PIL import Image

from nima.xmp.embedded import Properties, properties_inside
from nima.xmp.packet import NEW_XMP, with_property


def photo(folder: Path, suffix: str) -> Path:
    """Draws a photo of a format."""
    path = folder / f"photo{suffix}"
    image = picture(1, 64, 48)
    if suffix == ".heic":
        pillow_heif.from_pillow(image).save(path)
    else:
        image.save(path)
    return path


@pytest.mark.parametrize("suffix", [".jpg", ".tif", ".png", ".heic", ".webp"])
@pytest.mark.parametrize("tag", ["XMP-xmp:Rating", "IFD0:Rating"])
@needs_exiftool
def test_the_rating_of_other_programs_is_read(suffix: str, tag: str, tmp_path: Path) -> None:
    path = photo(tmp_path, suffix)
    assert properties_inside(path).rating is None
    exiftool(f"-{tag}=0", path)
    assert properties_inside(path).rating is None
    exiftool(f"-{tag}=4", path)
    assert properties_inside(path).rating == 4


def test_ratings_of_exif_and_xmp_are_read_without_other_programs(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x4746] = 3
    picture(1, 64, 48).save(tmp_path / "exif.jpg", exif=exif)
    picture(1, 64, 48).save(tmp_path / "xmp.jpg", xmp=with_property(NEW_XMP, "Rating", "-1"))
    assert properties_inside(tmp_path / "exif.jpg").rating == 3
    assert properties_inside(tmp_path / "xmp.jpg").rating == -1


def test_a_label_is_read_beside_the_rating(tmp_path: Path) -> None:
    both = with_property(with_property(NEW_XMP, "Rating", "2"), "Label", "Red")
    picture(1, 64, 48).save(tmp_path / "photo.jpg", xmp=both)
    assert properties_inside(tmp_path / "photo.jpg") == Properties(2, "Red")


@pytest.mark.parametrize("at", [0, (1 << 20) - 4, (1 << 20) - 300, 3 << 20])
def test_xmp_is_found_at_any_place(at: int, tmp_path: Path) -> None:
    path = tmp_path / "photo.cr3"
    path.write_bytes(b"<x:xmp" * (at // 6) + b"." * (at % 6) + with_property(NEW_XMP, "Rating", "4") + b"rest")
    assert properties_inside(path).rating == 4


def test_broken_xmp_does_not_hide_what_follows(tmp_path: Path) -> None:
    path = tmp_path / "photo.cr3"
    path.write_bytes(
        b"<x:xmpmeta></x:xmpmeta>" + b"<x:xmpmeta" + b"." * (2 << 20) + with_property(NEW_XMP, "Rating", "4")
    )
    assert properties_inside(path).rating == 4
    path.write_bytes(b"<x:xmpmeta" * 1_000_000)
    assert properties_inside(path).rating is None


@given(st.binary(max_size=60), st.integers(0, 3000), st.integers(0, 60))
def test_a_damaged_photo_has_a_rating_or_none(
    tmp_path_factory: pytest.TempPathFactory, inserted: bytes, at: int, removed: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.jpg"
    exif = Image.Exif()
    exif[0x4746] = 3
    picture(1, 64, 48).save(path, exif=exif, xmp=with_property(NEW_XMP, "Rating", "4"))
    content = path.read_bytes()
    path.write_bytes(content[:at] + inserted + content[at + removed :])
    rating = properties_inside(path).rating
    assert rating is None or isinstance(rating, int)
