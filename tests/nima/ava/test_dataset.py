"""Tries the descriptions of data sets: files of users and strangers, folders without one, and those of models."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from nima.ava import AVA, UNKNOWN_RATERS, Dataset, DatasetError
from nima.safe_io import FormatError

DESCRIPTION = {"name": "trees", "raters": "foresters", "licence": "CC0-1.0", "drawn": False, "private": True}


def test_a_description_is_read_as_it_was_written(tmp_path: Path) -> None:
    Dataset(**DESCRIPTION).write(tmp_path)
    assert json.loads((tmp_path / "dataset.json").read_text()) == DESCRIPTION
    assert Dataset.read(tmp_path) == Dataset(**DESCRIPTION)


def test_only_the_name_is_required(tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text('{"name": "trees"}')
    assert Dataset.read(tmp_path) == Dataset("trees", UNKNOWN_RATERS, "unknown", drawn=False, private=False)


@pytest.mark.parametrize(
    "content",
    [
        b"", b"[]", b"{", b"{}", b"[" * 9000, b"\xff\xfe", b'{"name": 3}', b'{"name": " \\u0007 "}',
        b'{"name": "a", "drawn": "yes"}', b'{"name": "a", "size": 3}', b'{"name": "a", "name": "b"}',
        b'{"name": "' + b"a" * 10_000 + b'"}',
    ],
)  # fmt: skip
def test_a_malformed_description_is_refused_with_its_path(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "dataset.json").write_bytes(content)
    with pytest.raises(DatasetError, match=r"dataset\.json.*[Mm]end or remove it"):
        Dataset.read(tmp_path)


def test_a_description_that_is_no_plain_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "dataset.json")
    with pytest.raises(DatasetError):
        Dataset.read(tmp_path)


def test_texts_become_one_short_printable_line() -> None:
    assert Dataset("two\nlines\x1b[2J").name == "two lines [2J"
    assert len(Dataset("a" * 5000).name) == 100
    with pytest.raises(FormatError):
        Dataset("\u202e")


@pytest.mark.parametrize(
    ("rows", "expected"),
    [(3, Dataset("mine")), (199_999, Dataset("mine")), (255_530, AVA), (500_000, Dataset("mine"))],
)
def test_a_folder_without_description_is_ava_by_its_size_alone(tmp_path: Path, rows: int, expected: Dataset) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "AVA.txt").write_bytes(b"1\n" * rows)
    assert Dataset.read(folder) == expected


def test_a_model_tells_its_data_or_unknown_raters() -> None:
    assert Dataset.of_model({"dataset": DESCRIPTION, "data": "AVA"}).raters == "foresters"
    assert Dataset.of_model({"data": "AVA, about 230,000 of its photos"}) == AVA
    assert Dataset.of_model({"data": "trees"}) == Dataset("trees")
    assert Dataset.of_model({}).raters == UNKNOWN_RATERS
