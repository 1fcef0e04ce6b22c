"""Reads files with one JSON object in each line, and appends lines to them.

Such a file survives a kill or a power cut while a line is written. A line counts as soon as its object is complete,
even if the newline after it is missing. An incomplete object can only be at the end of the file: readers leave it out,
and the next line that is appended replaces it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from nima.safe_io import one_line
from requestor.errors import RunFolderError

T = TypeVar("T")


def append(path: Path, entry: dict[str, Any]) -> None:
    """Adds one line, which is on disk when this function returns. Raises OSError if it cannot be written."""
    with path.open("a+b") as file:
        size = file.tell()
        if size > 0:
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.seek(0)
                start, tail = _unfinished(file.read())
                if _is_object(tail):
                    file.write(b"\n")
                else:
                    file.truncate(start)
        file.write(json.dumps(entry).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def lines(path: Path, parse: Callable[[dict[str, Any]], T]) -> Iterator[T]:
    """Yields the value of each line, oldest first; there are none if the file does not exist.

    Args:
        path: the file.
        parse: makes the value from a line's object; raises ValueError if the object is malformed.

    Raises:
        RunFolderError: a line is damaged; a last line that a kill cut off does not count as damaged.
        OSError: the file could not be read.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return
    start, tail = _unfinished(content)
    whole = content[:start].split(b"\n")[:-1] + ([tail] if _is_object(tail) else [])
    for number, line in enumerate(whole, start=1):
        try:
            entry = json.loads(line)
            if not isinstance(entry, dict):
                raise ValueError("it is not a JSON object")
            yield parse(entry)
        except (ValueError, RecursionError) as error:
            reason = one_line(str(error), 200)
            raise RunFolderError(
                f"{path}, line {number} is damaged ({reason}): repair the line, or delete it and do without it."
            ) from error


def _unfinished(content: bytes) -> tuple[int, bytes]:
    """Returns the text after the last newline, preceded by its position."""
    start = content.rfind(b"\n") + 1
    return start, content[start:]


def _is_object(text: bytes) -> bool:
    """Returns True if the text is one complete JSON object; a part of an object never is."""
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False
