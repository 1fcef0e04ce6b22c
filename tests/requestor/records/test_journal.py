"""Files of one JSON object a line, torn wherever a kill or a power cut may tear them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from requestor.errors import RunFolderError
from requestor.records.journal import append, lines

FIRST, SECOND, THIRD = {"n": 1, "of": {"more": [1, 2]}}, {"n": 2, "name": "é…\u2028}"}, {"n": 3}


def encoded(*entries: dict) -> bytes:
    """As another program may write it: UTF-8, not escaped."""
    return b"".join(json.dumps(entry, ensure_ascii=False).encode() + b"\n" for entry in entries)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


def test_a_file_torn_between_any_two_bytes_keeps_all_whole_lines_and_takes_the_next(path: Path) -> None:
    content = encoded(FIRST, SECOND)
    ends = [len(encoded(FIRST)) - 1, len(content) - 1]  # of the objects; the newline comes after
    for size in range(len(content) + 1):
        path.write_bytes(content[:size])
        whole = [entry for entry, end in zip((FIRST, SECOND), ends, strict=True) if size >= end]
        assert list(lines(path, dict)) == whole
        append(path, THIRD)
        assert list(lines(path, dict)) == [*whole, THIRD]
        assert path.read_bytes() == encoded(*whole, THIRD)


def test_what_a_power_cut_left_as_zeros_is_cut_off(path: Path) -> None:
    path.write_bytes(encoded(FIRST) + bytes(100))
    assert list(lines(path, dict)) == [FIRST]
    append(path, SECOND)
    assert list(lines(path, dict)) == [FIRST, SECOND]


def test_there_are_no_lines_where_there_is_no_file(path: Path) -> None:
    assert list(lines(path, dict)) == []


@pytest.mark.parametrize("damaged", [b"", b'{"n": 1', b'{"n": 1{"n": 1}', b"\xc3", b"7", b'{"n": 0}'])
def test_a_damaged_line_before_others_is_named(path: Path, damaged: bytes) -> None:
    def positive(entry: dict) -> int:
        if entry["n"] <= 0:
            raise ValueError("n must be positive")
        return int(entry["n"])

    path.write_bytes(encoded(FIRST) + damaged + b"\n" + encoded(THIRD))
    with pytest.raises(RunFolderError, match=r"journal\.jsonl, line 2 is damaged .*: repair the line, or delete it"):
        list(lines(path, positive))
