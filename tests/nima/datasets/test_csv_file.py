"""Tests of CSV files with ratings."""

from __future__ import annotations

from pathlib import Path

import pytest

from nima.datasets import DatasetImportError, RatedPhoto, Refusal, Scale, find_source, votes_of_moments


def rows(tmp_path: Path, text: str, **options: object) -> list[RatedPhoto | Refusal]:
    file = tmp_path / "list.csv"
    file.write_text(text)
    return list(find_source(file, **options).rows())  # type: ignore[arg-type]


def test_ten_counts_are_taken_as_they_are(tmp_path: Path) -> None:
    (photo,) = rows(tmp_path, "path,r1,r2,r3,r4,r5,r6,r7,r8,r9,r10\na.jpg,0,0,0,1,2,3,2,1,0,0\n")
    assert photo == RatedPhoto("a.jpg", (0, 0, 0, 1, 2, 3, 2, 1, 0, 0), "list.csv: line 2")


def test_five_counts_lie_on_the_scale_of_stars(tmp_path: Path) -> None:
    (photo,) = rows(tmp_path, "\ufeffimage_name,c1,c2,c3,c4,c5,c_total\na.jpg,4,0,0,0,6,10\n")
    assert isinstance(photo, RatedPhoto)
    assert photo.votes == (4, 0, 0, 0, 0, 0, 0, 0, 0, 6)


def test_means_need_a_scale_and_use_the_deviation_where_there_is_one(tmp_path: Path) -> None:
    text = "path,mean,std\na.jpg,3,1\nb.jpg,3,\n"
    with pytest.raises(DatasetImportError, match="--scale"):
        rows(tmp_path, text)
    first, second = rows(tmp_path, text, scale=Scale(1, 5))
    assert isinstance(first, RatedPhoto)
    assert isinstance(second, RatedPhoto)
    assert first.votes == votes_of_moments(Scale(1, 5), 3, 1)
    assert second.votes == votes_of_moments(Scale(1, 5), 3)


def test_a_semicolon_and_quotes_are_what_spreadsheets_write(tmp_path: Path) -> None:
    (photo,) = rows(tmp_path, 'Path;Stars\n"a; b.jpg";5\n')
    assert isinstance(photo, RatedPhoto)
    assert (photo.name, photo.votes[9]) == ("a; b.jpg", 1)


def test_each_wrong_row_is_named_with_its_line_and_the_others_are_taken(tmp_path: Path) -> None:
    text = "path,stars\na.jpg,4\nb.jpg,six\nc.jpg,7\nd.jpg,0\ne.jpg,-1\nf.jpg\n\ng.jpg,nan\nh.jpg,1\n"
    found = rows(tmp_path, text)
    assert [row.name for row in found if isinstance(row, RatedPhoto)] == ["a.jpg", "h.jpg"]
    assert [(row.kind, row.where) for row in found if isinstance(row, Refusal)] == [
        ("malformed", "list.csv: line 3"),
        ("out of range", "list.csv: line 4"),
        ("unrated", "list.csv: line 5"),
        ("rejected", "list.csv: line 6"),
        ("unrated", "list.csv: line 7"),
        ("malformed", "list.csv: line 9"),
    ]


def test_rejected_photos_may_count_as_the_lowest_rating(tmp_path: Path) -> None:
    (photo,) = rows(tmp_path, "path,stars\na.jpg,-1\n", rejected_counts=True)
    assert isinstance(photo, RatedPhoto)
    assert photo.votes[0] == 1


def test_counts_that_are_none_are_refused(tmp_path: Path) -> None:
    header = "path," + ",".join(f"r{rating}" for rating in range(1, 11))
    found = rows(tmp_path, f"{header}\na,-1{',1' * 9}\nb{',0' * 10}\nc,1e99{',0' * 9}\n")
    assert [row.kind for row in found if isinstance(row, Refusal)] == ["out of range", "unrated", "out of range"]


def test_a_deviation_that_is_impossible_is_out_of_range(tmp_path: Path) -> None:
    found = rows(tmp_path, "path,mean,std\na.jpg,4,9\nb.jpg,4,-1\nc.jpg,6,1\n", scale=Scale(1, 5))
    assert [row.kind for row in found if isinstance(row, Refusal)] == ["out of range"] * 3


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no row below its header|empty"),
        ("path,stars\n", "no row below"),
        ("name,stars\na.jpg,3\n", "no column names the photos"),
        ("path,likes\na.jpg,3\n", "tell no ratings"),
    ],
)
def test_a_file_that_is_no_list_of_ratings_is_an_error(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(DatasetImportError, match=told):
        rows(tmp_path, text)
