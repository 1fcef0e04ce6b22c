"""Tests of the data folder that an import makes: ids, links and lists, and imports that are hostile or cut short."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from listed_photos import draw_photos, imported

from nima.ava import image_path, read_ratings
from nima.datasets import DatasetImportError, RatedPhoto, RatedSource, Refusal

VOTES = (0, 0, 0, 0, 1, 0, 0, 0, 0, 0)


def source(folder: Path, *names: str) -> RatedSource:
    rows = [RatedPhoto(name, VOTES, f"list.csv: line {line}") for line, name in enumerate(names, start=2)]
    return RatedSource("drawn", "nobody", "MIT", folder, lambda: iter(rows))


def ids(out: Path) -> dict[str, int]:
    lines = (out / "ids.csv").read_text().splitlines()[1:]
    return {name: int(image_id) for image_id, name in (line.split(",") for line in lines)}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return draw_photos(tmp_path / "photos", "a.jpg", "b.jpg", "in/c.jpg")


def test_photos_are_hard_links_that_outlive_a_move_of_either_folder(photos: Path, tmp_path: Path) -> None:
    report = imported(source(photos, "a.jpg", "in/c.jpg"), tmp_path / "ava")
    assert report.kept == {"hard link": 2}
    photos.rename(tmp_path / "moved")
    (tmp_path / "ava").rename(tmp_path / "data")
    found = ids(tmp_path / "data")
    assert image_path(tmp_path / "data", found["in/c.jpg"]).samefile(tmp_path / "moved" / "in" / "c.jpg")


def test_where_no_hard_link_can_be_a_symbolic_one_is(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other_disk(*paths: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", other_disk)
    assert imported(source(photos, "a.jpg"), tmp_path / "ava").kept == {"symbolic link": 1}
    (image_id,) = ids(tmp_path / "ava").values()
    assert image_path(tmp_path / "ava", image_id).resolve() == photos / "a.jpg"


def test_copies_do_not_depend_on_the_source(photos: Path, tmp_path: Path) -> None:
    imported(source(photos, "a.jpg"), tmp_path / "ava")
    assert imported(source(photos, "a.jpg"), tmp_path / "ava", copy=True).kept == {"copy": 1}
    (image_id,) = ids(tmp_path / "ava").values()
    content = (photos / "a.jpg").read_bytes()
    assert not image_path(tmp_path / "ava", image_id).samefile(photos / "a.jpg")
    shutil.rmtree(photos)
    assert image_path(tmp_path / "ava", image_id).read_bytes() == content


def test_ids_stay_when_photos_come_and_go(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "ava"
    imported(source(photos, "a.jpg", "b.jpg"), out)
    first = ids(out)
    imported(source(photos, "in/c.jpg", "b.jpg"), out)
    second = ids(out)
    assert second["b.jpg"] == first["b.jpg"]
    assert read_ratings(out).image_ids.tolist() == [second["in/c.jpg"], second["b.jpg"]]
    assert sorted(path.name for path in (out / "images").iterdir()) == sorted(f"{i}.jpg" for i in second.values())
    imported(source(photos, "a.jpg"), tmp_path / "other")
    assert ids(tmp_path / "other") == {"a.jpg": first["a.jpg"]}


def test_a_second_import_finds_everything_in_place(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "ava"
    for copy in (False, True):
        imported(source(photos, "a.jpg", "b.jpg"), out, copy)
        before = {path: (path.lstat().st_ino, path.lstat().st_mtime_ns) for path in (out / "images").iterdir()}
        imported(source(photos, "a.jpg", "b.jpg"), out, copy)
        assert {path: (path.lstat().st_ino, path.lstat().st_mtime_ns) for path in (out / "images").iterdir()} == before


def test_a_photo_that_was_replaced_is_taken_anew(photos: Path, tmp_path: Path) -> None:
    imported(source(photos, "a.jpg"), tmp_path / "ava")
    os.replace(photos / "b.jpg", photos / "a.jpg")
    imported(source(photos, "a.jpg"), tmp_path / "ava")
    (image_id,) = ids(tmp_path / "ava").values()
    assert image_path(tmp_path / "ava", image_id).samefile(photos / "a.jpg")


def test_names_that_lead_out_of_the_folder_are_refused(photos: Path, tmp_path: Path) -> None:
    draw_photos(tmp_path, "secret.jpg")
    (photos / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    (photos / "circle.jpg").symlink_to(photos / "circle.jpg")
    tricks = ["../secret.jpg", str(tmp_path / "secret.jpg"), "in/../../secret.jpg", "link.jpg", "circle.jpg", "a\0.jpg",
              "", "x" * 5000, "x" * 300]  # fmt: skip
    report = imported(source(photos, "a.jpg", *tricks), tmp_path / "ava")
    assert report.photos == 1
    assert [refusal.kind for refusal in report.refused] == [
        *["outside"] * 4, "missing", *["malformed"] * 3, "missing"
    ]  # fmt: skip


def test_missing_broken_and_double_photos_are_named_with_their_line(photos: Path, tmp_path: Path) -> None:
    (photos / "text.jpg").write_text("no photo")
    (photos / "empty.jpg").touch()
    (photos / "folder.jpg").mkdir()
    os.mkfifo(photos / "pipe.jpg")
    names = ["a.jpg", "lost.jpg", "./a.jpg", "text.jpg", "empty.jpg", "folder.jpg", "pipe.jpg", "a\x1b[2J.jpg"]
    report = imported(source(photos, *names), tmp_path / "ava")
    assert report.refused_by_kind() == {"unreadable": 4, "missing": 2, "duplicate": 1}
    assert str(report.refused[1]) == "list.csv: line 4: ./a.jpg is the photo of list.csv: line 2 already"
    written = (tmp_path / "ava" / "refused.csv").read_text()
    assert "missing,list.csv: line 3,lost.jpg does not exist" in written
    assert "\x1b" not in written


def test_refusals_of_the_source_are_kept_in_order(photos: Path, tmp_path: Path) -> None:
    rows = [Refusal("unrated", "b.jpg", "unrated"), RatedPhoto("a.jpg", VOTES, "a.jpg")]
    report = imported(RatedSource("x", "x", "x", photos, lambda: iter(rows)), tmp_path / "ava")
    assert [str(refusal) for refusal in report.refused] == ["b.jpg: unrated"]


def test_an_import_that_dies_leaves_no_data_set_or_the_one_before(photos: Path, tmp_path: Path) -> None:
    def dying() -> Iterator[RatedPhoto]:
        yield RatedPhoto("b.jpg", VOTES, "list.csv: line 2")
        raise KeyboardInterrupt

    out = tmp_path / "ava"
    dead = RatedSource("drawn", "nobody", "MIT", photos, dying)
    with pytest.raises(KeyboardInterrupt):
        imported(dead, out)
    assert not (out / "AVA.txt").exists()
    imported(source(photos, "a.jpg", "b.jpg"), out)
    before = (out / "AVA.txt").read_bytes(), (out / "ids.csv").read_bytes()
    with pytest.raises(KeyboardInterrupt):
        imported(dead, out)
    assert ((out / "AVA.txt").read_bytes(), (out / "ids.csv").read_bytes()) == before
    assert all(image_path(out, image_id).exists() for image_id in ids(out).values())


def test_a_data_set_that_no_import_made_is_left_alone(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "ava"
    out.mkdir()
    (out / "AVA.txt").write_text("1 5 1 0 0 0 0 0 0 0 0 0 0 0 0\n")
    with pytest.raises(DatasetImportError, match="Choose another folder"):
        imported(source(photos, "a.jpg"), out)
    assert [path.name for path in out.iterdir()] == ["AVA.txt"]


@pytest.mark.parametrize("damage", ["image_id,photo\nx,a.jpg\n", "a,b\n1,2\n", "image_id,photo\n1,a\n1,b\n", ""])
def test_damaged_ids_are_not_replaced_silently(damage: str, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "ava"
    out.mkdir()
    (out / "ids.csv").write_text(damage)
    with pytest.raises(DatasetImportError, match="damaged"):
        imported(source(photos, "a.jpg"), out)


def test_no_photo_at_all_is_an_error_that_tells_why(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetImportError, match=r"lost.jpg does not exist.*--photos"):
        imported(source(photos, "lost.jpg"), tmp_path / "ava")
    assert not (tmp_path / "ava" / "AVA.txt").exists()
