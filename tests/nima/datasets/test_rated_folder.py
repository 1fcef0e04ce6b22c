"""Tests of photos that carry ratings: in sidecars, in their XMP, in their EXIF."""

from __future__ import annotations

from pathlib import Path

from listed_photos import draw_photos
from PIL import Image

from nima.datasets import RatedPhoto, Refusal, find_source
from nima.xmp import NEW_XMP, with_property


def xmp(rating: str) -> bytes:
    return with_property(NEW_XMP, "Rating", rating)


def test_ratings_are_read_wherever_photo_managers_keep_them(tmp_path: Path) -> None:
    draw_photos(tmp_path, "darktable.jpg", "lightroom.jpg", "unrated.jpg", "rejected.jpg", "old/exif.jpg", "broken.jpg")
    (tmp_path / "darktable.jpg.xmp").write_bytes(xmp("5"))
    (tmp_path / "lightroom.xmp").write_bytes(xmp("1"))
    (tmp_path / "rejected.jpg.xmp").write_bytes(xmp("-1"))
    (tmp_path / "broken.jpg.xmp").write_bytes(b"<x")
    exif = Image.Exif()
    exif[0x4746] = 3
    Image.new("RGB", (64, 48)).save(tmp_path / "old" / "exif.jpg", exif=exif)
    Image.new("RGB", (64, 48)).save(tmp_path / "inside.jpg", xmp=xmp("4"))
    (tmp_path / "old" / ".hidden.jpg").write_bytes(b"")
    found = list(find_source(tmp_path, in_photos=True).rows())
    rated = {row.name: row.votes for row in found if isinstance(row, RatedPhoto)}
    assert rated == {
        "darktable.jpg": (0, 0, 0, 0, 0, 0, 0, 0, 0, 1),
        "inside.jpg": (0, 0, 0, 0, 0, 0, 2500, 7500, 0, 0),
        "lightroom.jpg": (1, 0, 0, 0, 0, 0, 0, 0, 0, 0),
        "old/exif.jpg": (0, 0, 0, 0, 5000, 5000, 0, 0, 0, 0),
    }
    assert {row.where: row.kind for row in found if isinstance(row, Refusal)} == {
        "broken.jpg": "malformed",
        "rejected.jpg": "rejected",
        "unrated.jpg": "unrated",
    }


def test_rejected_photos_may_count_as_one_star(tmp_path: Path) -> None:
    draw_photos(tmp_path, "a.jpg")
    (tmp_path / "a.jpg.xmp").write_bytes(xmp("-1"))
    (row,) = find_source(tmp_path, in_photos=True, rejected_counts=True).rows()
    assert isinstance(row, RatedPhoto)
    assert row.votes[0] == 1


def test_a_data_set_inside_the_folder_is_not_read_again(tmp_path: Path) -> None:
    draw_photos(tmp_path, "a.jpg", "ava/images/1.jpg")
    (tmp_path / "ava" / "AVA.txt").write_text("")
    assert [row.where for row in find_source(tmp_path, in_photos=True).rows()] == ["a.jpg"]


def test_nothing_is_written_beside_the_photos(tmp_path: Path) -> None:
    draw_photos(tmp_path, "a.jpg", "b.jpg")
    (tmp_path / "a.jpg.xmp").write_bytes(xmp("2"))
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    list(find_source(tmp_path, in_photos=True).rows())
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
