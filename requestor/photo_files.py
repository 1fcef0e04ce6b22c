"""Which files a user means by files and folders."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from nima.photos import SUFFIXES


def photo_files(paths: Iterable[Path], recursive: bool = False) -> Iterator[Path]:
    """The paths themselves, and for a folder the photos in it, by name; with `recursive`, also in folders below.

    What is in folders counts by its suffix; hidden files and folders are passed over, and links to folders are not
    followed, so that no circle of them can trap the walk. Each path comes once.
    """
    seen: set[Path] = set()
    for path in paths:
        for file in _inside(path, recursive) if path.is_dir() else (path,):
            if file not in seen:
                seen.add(file)
                yield file


def _inside(folder: Path, recursive: bool) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith(".")) if recursive else []
        for name in sorted(files):
            if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES:
                yield Path(parent, name)
