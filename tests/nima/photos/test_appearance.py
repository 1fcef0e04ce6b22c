"""The hash that near-duplicates share, the thumbnail, and the time at which a photo was taken."""

from __future__ import annotations

import io
from datetime import datetime

import pytest
from drawn_photos import encoded, picture
from PIL import Image, ImageEnhance

from nima.photos.appearance import THUMBNAIL_SIDE, appearance_of, difference_hash, thumbnail_of
from nima.photos.reading import read_photo

COPIES = {
    "half the size": lambda image: image.resize((image.width // 2, image.height // 2)),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.1),
    "compressed": lambda image: Image.open(io.BytesIO(encoded(image, "JPEG"))),
    "grey": lambda image: image.convert("L").convert("RGB"),
}


def distance(one: Image.Image, other: Image.Image) -> int:
    return (difference_hash(one) ^ difference_hash(other)).bit_count()


@pytest.mark.parametrize("copy", COPIES)
def test_copies_are_near_and_other_photos_far(copy: str) -> None:
    for seed in range(5):
        image = picture(seed)
        assert distance(image, COPIES[copy](image)) <= 8
        assert distance(image, picture(seed + 1)) > 28


def test_the_hash_says_where_it_gets_brighter() -> None:
    right = Image.linear_gradient("L").rotate(90).convert("RGB")  # white on the right
    down = Image.linear_gradient("L").convert("RGB")
    first_half = ((1 << 64) - 1) << 64
    assert difference_hash(right) == first_half
    assert difference_hash(down) == (1 << 64) - 1


def test_a_thumbnail_is_small_and_keeps_its_sides_in_proportion() -> None:
    with Image.open(io.BytesIO(thumbnail_of(picture(1, 800, 600)))) as thumbnail:
        assert (thumbnail.format, thumbnail.size) == ("WEBP", (THUMBNAIL_SIDE, THUMBNAIL_SIDE * 3 // 4))
    with Image.open(io.BytesIO(thumbnail_of(picture(1, 30, 20)))) as thumbnail:
        assert thumbnail.size == (30, 20)


def taken(date: str | None, fraction: str | None = None) -> datetime | None:
    exif = Image.Exif()
    tags = exif.get_ifd(0x8769)
    if date is not None:
        tags[0x9003] = date
    if fraction is not None:
        tags[0x9291] = fraction
    file = io.BytesIO()
    picture(1, 30, 20).save(file, "JPEG", exif=exif)
    return appearance_of(read_photo(file.getvalue())).taken


def test_it_knows_when_a_photo_was_taken() -> None:
    assert taken("2024:05:01 12:30:15") == datetime(2024, 5, 1, 12, 30, 15)
    assert taken("2024:05:01 12:30:15", "25") == datetime(2024, 5, 1, 12, 30, 15, 250_000)
    assert taken("2024:05:01 12:30:15", "x") == datetime(2024, 5, 1, 12, 30, 15)


@pytest.mark.parametrize("date", [None, "", "0000:00:00 00:00:00", "    :  :     :  :  ", "yesterday", "2024-05-01"])
def test_a_photo_that_does_not_know_when_says_nothing(date: str | None) -> None:
    assert taken(date) is None
