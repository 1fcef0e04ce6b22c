"""Which files a user means by files, folders, patterns and lists of them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from glob import has_magic
from pathlib import Path
from typing import BinaryIO

from nima.photos import SUFFIXES


def photo_files(paths: Iterable[str | Path], recursive: bool = False) -> Iterator[Path]:
    """The paths themselves, for a folder the photos in it, for a pattern (`*`, `?`, `[…]`, `**`) what it matches.

    With `recursive`, also the photos in folders below. What is in folders counts by its suffix; hidden files and
    folders are passed over, and links to folders are not followed, so that no circle of them can trap the walk. A path
    that leads nowhere or a folder that may not be read comes as it is, for whoever opens it to say what is wrong. Each
    path comes once.
    """
    here = os.getcwd()
    seen: set[str] = set()
    for path in paths:
        for file in _meant(str(path), recursive):
            # Not normalised any further: behind a link, `..` leads elsewhere than the text says.
            absolute = os.path.join(here, file)
            if absolute not in seen:
                seen.add(absolute)
                yield file


def listed_paths(stream: BinaryIO, separator: bytes = b"\n") -> Iterator[str]:
    """Paths out of a list such as `find` writes, as they come; empty ones are passed over.

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
    """What a pattern matches, by name; hidden files and folders only where it says so."""
    parts = Path(pattern).parts
    first = next(index for index, part in enumerate(parts) if has_magic(part))
    try:
        # Not glob.glob, whose ** follows links, in circles too.
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
            if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES:
                yield Path(parent, name)
    yield from unreadable
