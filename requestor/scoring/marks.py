"""Reads the list of marks that a contact sheet hands back: the stars that a person gave to its photos.

    {"format": "nima-golem marks 1", "marks": [{"path": "holiday/1.jpg", "stars": 4}]}

Stars are 1 to 5, −1 for a rejected photo, or 0 for one whose mark was taken back. The list may come from anyone: it is
bounded and strict, and a path in it is a text to be compared with those of known photos.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nima.safe_io import (
    FileError,
    FormatError,
    build_dataclass,
    check_range,
    check_types,
    one_line,
    parse_json_object,
    read_bounded,
    require,
)
from requestor.errors import ConfigurationError

FORMAT = "nima-golem marks 1"
_MAX_BYTES = 16 * 1024 * 1024
_MOST_MARKS = 100_000
_LONGEST_PATH = 4096  # characters


@dataclass(frozen=True)
class Mark:
    """The mark of a photo. Raises `FormatError` if a value has another type or lies outside its range.

    path: the photo's path, as the sheet had it.
    stars: −1 (rejected), 0 (none) or 1 to 5.
    """

    path: str
    stars: int

    def __post_init__(self) -> None:
        check_types(self)
        check_range("stars", self.stars, -1, 5)
        require(0 < len(self.path) <= _LONGEST_PATH, f"path must have 1 to {_LONGEST_PATH} characters")


def read_marks(path: Path) -> list[Mark]:
    """Reads a list of marks from a file, or from stdin if the path is `-`; no photo is in it twice.

    Raises `ConfigurationError` if it cannot be read, or is no such list.
    """
    name = "The list on stdin" if path == Path("-") else one_line(str(path))
    try:
        content = sys.stdin.buffer.read(_MAX_BYTES + 1) if path == Path("-") else read_bounded(path, _MAX_BYTES)
        require(len(content) <= _MAX_BYTES, f"it has more than {_MAX_BYTES:,} bytes")
        return _marks(parse_json_object(content.decode()))
    except FileError as error:
        raise ConfigurationError(f"{name} cannot be used: {error}") from error
    except (FormatError, ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, FormatError) else "this is no JSON"
        raise ConfigurationError(
            f"{name} is no list of marks ({reason}). Save the list again with the button of the contact sheet."
        ) from error


def _marks(data: dict[str, Any]) -> list[Mark]:
    require(data.get("format") == FORMAT, f"its format is not {FORMAT!r}")
    require(data.keys() == {"format", "marks"}, "it has other keys than format and marks")
    rows = data["marks"]
    require(isinstance(rows, list) and len(rows) <= _MOST_MARKS, f"marks must be a list of at most {_MOST_MARKS:,}")
    require(all(isinstance(row, dict) for row in rows), "a mark is no object")
    marks: list[Mark] = [build_dataclass(Mark, row) for row in rows]
    require(len({mark.path for mark in marks}) == len(marks), "a photo stands twice in it")
    return marks
