"""Finds the files that a user names by files, folders, patterns and lists of them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from glob import has_magic
from pathlib import Path
from typing import BinaryIO

from nima.photos import PHOTO_SUFFIXES


def photo_files(paths: Iterable[str | Path], recursive: bool = False) -> Iterator[Path]:
    """Yields each path itself; for a folder the photos in it; for a pattern (`*`, `?`, `[…]`, `**`) the paths it
    matches.

    With `recursive`, also the photos in folders below. A file in a folder counts as a photo by its suffix. Hidden files
    and folders are skipped, and links to folders are not followed, so a circle of links cannot trap the walk. A path
    that does not exist or a folder that may not be read is yielded as it is, and the code that opens it reports the
    error. Each path is yielded once.
    """
    here = os.getcwd()
    seen: set[str] = set()
    for path in paths:
        for file in _meant(str(path), recursive):
            # Not normalised any further: behind a link, `..` leads to another place than the text says.
            absolute = os.path.join(here, file)
            if absolute not in seen:
                seen.add(absolute)
                yield file


def listed_paths(stream: BinaryIO, separator: bytes = b"\n") -> Iterator[str]:
    """Yields the paths of a list such as `find` writes, as they arrive; skips empty ones.

    With b"\\0" as the separator (`find -print0`) names may have line breaks in them.
    """
    rest = b""
    while block := stream.read1(1 << 16) if hasattr(stream, "read1") else stream.read(1 << 16):
        *paths, rest = (rest + block).split(separator)
        yield from (os.fsdecode(path) for path in paths if path)
    if rest:
        yield os.fsdecode(rest)


def _meant(path: str, recursive: bool) -> Iterator[Path]:
    if os.path.isdir(path):
        yield from _inside(path, recursive)
    elif has_magic(path) and not os.path.lexists(path) and (matches := _matches(path)):
        for match in matches:
            yield from _inside(str(match), recursive) if match.is_dir() else [match]
    else:
        yield Path(path)


def _matches(pattern: str) -> list[Path]:
    """Returns the paths that a pattern matches, by name; hidden files and folders only if the pattern names the dot."""
    parts = Path(pattern).parts
    first = next(index for index, part in enumerate(parts) if has_magic(part))
    try:
        # Not glob.glob, because its ** follows links, also in circles.
        found = Path(*parts[:first]).glob(os.path.join(*parts[first:]))
        hidden_meant = any(part.startswith(".") for part in parts[first:])
        return sorted(
            path for path in found if hidden_meant or not any(part.startswith(".") for part in path.parts[first:])
        )
    except ValueError:  # such as a**b
        return []


def _inside(folder: str, recursive: bool) -> Iterator[Path]:
    unreadable: list[Path] = []
    for parent, folders, files in os.walk(folder, onerror=lambda error: unreadable.append(Path(error.filename))):
        folders[:] = sorted(name for name in folders if not name.startswith(".")) if recursive else []
        for name in sorted(files):
            if not name.startswith(".") and Path(name).suffix.lower() in PHOTO_SUFFIXES:
                yield Path(parent, name)
    yield from unreadable
