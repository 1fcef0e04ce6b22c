"""Append-only files of one JSON object a line, which a kill or a power cut in the middle of a line does not spoil."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def append(path: Path, entry: dict[str, Any]) -> None:
    """Add one line, on disk when this returns. What was left of a line that was never finished is cut off before.

    Raises OSError.
    """
    with path.open("a+b") as file:
        if file.tell() > 0:
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.seek(0)
                file.truncate(file.read().rfind(b"\n") + 1)
        file.write(json.dumps(entry).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def lines(path: Path) -> list[str]:
    """All whole lines, oldest first; none where there is no file. Raises OSError and UnicodeDecodeError."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    return content[: content.rfind(b"\n") + 1].decode().splitlines()
