"""Append-only files of one JSON object a line, which a kill or a power cut in the middle of a line does not spoil.

A line counts from the moment at which its object is whole, whether the newline behind it was still written or not. What
was left of an object that is not whole can only be the end of the file: readers leave it out, and the next line that is
appended takes its place.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from requestor.errors import RunFolderError

T = TypeVar("T")


def append(path: Path, entry: dict[str, Any]) -> None:
    """Adds one line, which is on disk when this returns. Raises OSError."""
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
    """Reads the lines, oldest first; there are none where there is no file.

    Args:
        parse: makes a value of a line's object; raises ValueError where the object is malformed.

    Raises:
        RunFolderError: a line is damaged, and is not the rest of one that a kill left at the end.
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
                raise ValueError("it is no JSON object")
            yield parse(entry)
        except ValueError as error:
            raise RunFolderError(
                f"{path}, line {number} is damaged ({error}): repair the line, or delete it and do without it."
            ) from error


def _unfinished(content: bytes) -> tuple[int, bytes]:
    """Returns where the text after the last newline begins, and that text."""
    start = content.rfind(b"\n") + 1
    return start, content[start:]


def _is_object(text: bytes) -> bool:
    """Whether this is one whole JSON object; no part of one is."""
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False
