"""Finds the files that a user names by files, folders, patterns and lists of them."""

from __future__ import annotations

import codecs
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from glob import has_magic
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from nima.photos import PHOTO_SUFFIXES

# Suffixes of files that belong to photos; they are not counted as left out, because nobody expects a score of them.
_SIDECARS = frozenset({".xmp", ".aae", ".dop", ".pp3", ".thm"})
_MOST_SUFFIXES = 5  # largest number of suffixes that a summary names


@dataclass
class LeftOut:
    """Records what a search for photos did not take.

    suffixes: number of files in folders that were passed over, by their suffix in lower case; "" for files without a
        suffix. Hidden files and sidecars do not count.
    unmatched: patterns that match no path.
    """

    suffixes: Counter[str] = field(default_factory=Counter)
    unmatched: list[str] = field(default_factory=list)

    def summary(self) -> str | None:
        """Returns a line such as "8 files passed over (.jxl 3, .mov 3, .txt 2)"; None if no file was passed over."""
        count = self.suffixes.total()
        if not count:
            return None
        by_count = sorted(self.suffixes.items(), key=lambda item: (-item[1], item[0]))
        named = [f"{suffix or 'no suffix'} {number}" for suffix, number in by_count[:_MOST_SUFFIXES]]
        more = ["…"] if len(by_count) > _MOST_SUFFIXES else []
        return f"{count} {'file' if count == 1 else 'files'} passed over ({', '.join(named + more)})"


def photo_files(
    paths: Iterable[str | Path], recursive: bool = False, left_out: LeftOut | None = None
) -> Iterator[Path]:
    """Yields the files that paths, folders and patterns mean, each once.

    A file is yielded as it is. For a folder, the photos in it are yielded; a file in a folder counts as a photo by its
    suffix. For a pattern (`*`, `?`, `[…]`, `**`), the paths that it matches are yielded. Hidden files and folders are
    skipped, and links to folders are not followed, so that a circle of links causes no endless search. A path that does
    not exist and a folder that cannot be read are yielded, too: the code that opens them reports the error.

    Args:
        paths: files, folders and patterns.
        recursive: True searches folders inside folders, too.
        left_out: receives the patterns without a match, and the numbers of files in folders that are no photos.
    """
    left_out = LeftOut() if left_out is None else left_out
    here = os.getcwd()
    seen: set[str] = set()
    for path in paths:
        for file in _meant(str(path), recursive, left_out):
            # The path is not normalised any further: after a link, `..` leads to another folder than the text suggests.
            absolute = os.path.join(here, file)
            if absolute not in seen:
                seen.add(absolute)
                yield file


def listed_paths(stream: BinaryIO, separator: bytes = b"\n") -> Iterator[str]:
    """Yields the paths of a list, such as `find` writes it, as they arrive; skips empty ones.

    With the separator b"\\0" (`find -print0`), names may contain line breaks, and every byte counts. With any other
    separator, the list may have been written on Windows: with CRLF, with a byte order mark, or in UTF-16.
    """
    for path in _parts(_blocks(stream), separator) if separator == b"\0" else _lines(stream):
        if path:
            yield os.fsdecode(path)


def _lines(stream: BinaryIO) -> Iterator[bytes]:
    blocks = _blocks(stream)
    start = b""
    while len(start) < 2 and (block := next(blocks, b"")):
        start += block
    rest: Iterable[bytes] = chain([start], blocks)
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        decoder = codecs.getincrementaldecoder("utf-16")("replace")
        rest = (decoder.decode(block).encode() for block in rest)
    for number, line in enumerate(_parts(rest, b"\n")):
        path = line.removesuffix(b"\r")
        yield path.removeprefix(codecs.BOM_UTF8) if number == 0 else path


def _blocks(stream: BinaryIO) -> Iterator[bytes]:
    """Yields the content of a stream in blocks, as it arrives."""
    while block := stream.read1(1 << 16) if hasattr(stream, "read1") else stream.read(1 << 16):
        yield block


def _parts(blocks: Iterable[bytes], separator: bytes) -> Iterator[bytes]:
    rest = b""
    for block in blocks:
        *parts, rest = (rest + block).split(separator)
        yield from parts
    yield rest


def _meant(path: str, recursive: bool, left_out: LeftOut) -> Iterator[Path]:
    if os.path.isdir(path):
        yield from _inside(path, recursive, left_out)
    elif has_magic(path) and not os.path.lexists(path):
        matches = _matches(path)
        if not matches:
            left_out.unmatched.append(path)
        for match in matches:
            yield from _inside(str(match), recursive, left_out) if match.is_dir() else [match]
    else:
        yield Path(path)


def _matches(pattern: str) -> list[Path]:
    """Returns the paths that a pattern matches, sorted; hidden ones only if a part of the pattern begins with a dot."""
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


def _inside(folder: str, recursive: bool, left_out: LeftOut) -> Iterator[Path]:
    unreadable: list[Path] = []
    for parent, folders, files in os.walk(folder, onerror=lambda error: unreadable.append(Path(error.filename))):
        folders[:] = sorted(name for name in folders if not name.startswith(".")) if recursive else []
        for name in sorted(files):
            suffix = Path(name).suffix.lower()
            if name.startswith("."):
                continue
            if suffix in PHOTO_SUFFIXES:
                yield Path(parent, name)
            elif suffix not in _SIDECARS:
                left_out.suffixes[suffix] += 1
    yield from unreadable
