"""The files that a user's arguments stand for."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from requestor.scoring.files import LeftOut, listed_paths, photo_files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Makes a folder of photos and other things: a text, a hidden photo, photos in subfolders and a circle of links."""
    for name in ("b.jpg", "a.JPG", "c.jpeg", ".hidden.jpg", "notes.txt", "below/d.png", ".git/e.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "below" / "circle").symlink_to(tmp_path)
    return tmp_path


def names(folder: Path, *paths: str | Path, recursive: bool = False) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in photo_files(paths, recursive)]


def test_folders_are_walked_in_order_once_and_never_in_circles(folder: Path) -> None:
    assert names(folder, folder / "c.jpeg", folder, folder / "a.JPG") == ["c.jpeg", "a.JPG", "b.jpg"]
    assert names(folder, folder, recursive=True) == ["a.JPG", "b.jpg", "c.jpeg", "below/d.png"]


def test_what_is_named_is_meant_whatever_its_name(folder: Path) -> None:
    assert names(folder, folder / ".hidden.jpg", folder / "notes.txt") == [".hidden.jpg", "notes.txt"]
    assert names(folder, folder / "none.jpg") == ["none.jpg"]


def test_patterns_match_files_and_folders(folder: Path) -> None:
    assert names(folder, f"{folder}/*.jp*g") == ["b.jpg", "c.jpeg"]
    assert names(folder, f"{folder}/**/*.png") == ["below/d.png"]
    assert names(folder, f"{folder}/b*") == ["b.jpg", "below/d.png"]
    assert names(folder, f"{folder}/.h*") == [".hidden.jpg"]


def test_patterns_without_a_match_are_left_out_by_name(folder: Path) -> None:
    left_out = LeftOut()
    patterns = [f"{folder}/a**b", f"{folder}/*.tif"]
    assert list(photo_files([*patterns, folder / "none.jpg"], left_out=left_out)) == [folder / "none.jpg"]
    assert left_out.unmatched == patterns


def test_files_that_are_passed_over_are_counted_by_suffix(folder: Path) -> None:
    for name in ("1.jxl", "2.JXL", "a.jpg.xmp", "IMG.AAE", "film.mov", "below/README", ".hidden.jxl"):
        (folder / name).touch()
    left_out = LeftOut()
    assert len(list(photo_files([folder, folder / "notes.txt"], recursive=True, left_out=left_out))) == 5
    assert left_out.summary() == "5 files passed over (.jxl 2, no suffix 1, .mov 1, .txt 1)"
    assert LeftOut().summary() is None


def test_only_the_most_frequent_suffixes_are_named() -> None:
    left_out = LeftOut()
    for number in range(9):
        left_out.suffixes[f".{number}"] = number + 1
    assert left_out.summary() == "45 files passed over (.8 9, .7 8, .6 7, .5 6, .4 5, …)"


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(folder: Path) -> None:
    (folder / "[ab].jpg").touch()
    assert names(folder, f"{folder}/[ab].jpg") == ["[ab].jpg"]


def test_the_same_file_in_two_spellings_comes_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert [str(path) for path in photo_files(["b.jpg", "./b.jpg", folder / "b.jpg", "below/../b.jpg"])] == [
        "b.jpg",
        "below/../b.jpg",
    ]


def test_odd_paths_are_passed_on(folder: Path) -> None:
    (folder / "itself.jpg").symlink_to("itself.jpg")
    odd = [folder / "itself.jpg", folder / ("x" * 300), folder / "zero\0byte.jpg"]
    assert list(photo_files(odd)) == odd


@pytest.mark.skipif(not hasattr(os, "seteuid") or os.geteuid() != 0, reason="needs root, to become another user")
def test_a_folder_that_may_not_be_read_comes_as_it_is(folder: Path) -> None:
    parent = folder
    while parent != parent.parent:  # pytest's folders are open to their owner only
        if parent.stat().st_mode & 0o077 == 0:
            parent.chmod(0o755)
        parent = parent.parent
    (folder / "below").chmod(0o700)
    os.seteuid(65534)
    try:
        assert names(folder, folder, recursive=True)[-1] == "below"
    finally:
        os.seteuid(0)


@given(st.lists(st.binary(min_size=1, max_size=300).filter(lambda name: b"\0" not in name)))
def test_a_list_gives_back_its_paths(paths: list[bytes]) -> None:
    stream = io.BytesIO(b"".join(path + b"\0" for path in paths))
    assert [os.fsencode(path) for path in listed_paths(stream, b"\0")] == paths


def test_a_list_may_end_without_a_line_break() -> None:
    assert list(listed_paths(io.BytesIO(b"a.jpg\n\nb c.jpg"))) == ["a.jpg", "b c.jpg"]


@pytest.mark.parametrize(
    "content",
    [
        b"a.jpg\r\nb c.jpg\r\n",
        b"\xef\xbb\xbfa.jpg\nb c.jpg\n",
        b"\xef\xbb\xbfa.jpg\r\n\r\nb c.jpg",
        "\ufeffa.jpg\r\nb c.jpg\r\n".encode("utf-16-le"),
        "\ufeffa.jpg\r\nb c.jpg\r\n".encode("utf-16-be"),
    ],
    ids=["CRLF", "BOM", "both", "UTF-16", "UTF-16 BE"],
)
@pytest.mark.parametrize("at_a_time", [1, 3, 1 << 16])
def test_a_list_may_come_from_windows(content: bytes, at_a_time: int) -> None:
    class Slow(io.BytesIO):
        def read1(self, size: int | None = -1, /) -> bytes:
            return super().read1(at_a_time)

    assert list(listed_paths(Slow(content))) == ["a.jpg", "b c.jpg"]


def test_a_list_with_zero_bytes_is_taken_as_it_is() -> None:
    content = b"\xef\xbb\xbfa.jpg\r\0b\n.jpg\0"
    assert [os.fsencode(path) for path in listed_paths(io.BytesIO(content), b"\0")] == content.split(b"\0")[:-1]
