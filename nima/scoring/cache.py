"""Keeps scores and features in an SQLite file, by the content of a photo and the model, and appearances of photos.

A file whose size and times have not changed since it was hashed is not opened again. Every batch is one transaction in
a write-ahead log, so a process that is killed at any time leaves a valid cache, and several processes may share one.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from threading import Lock
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from nima.errors import NimaError
from nima.photos import DIFFERENCE_HASH_BITS, GREYS_SIDE, Appearance
from nima.ratings import BUCKETS
from nima.safe_io import FileError, sha256_of

Result = TypeVar("Result")

_APPLICATION = 0x4E494D41  # "NIMA" in the header of the file
_SCHEMA = 1
_TABLES = """
CREATE TABLE IF NOT EXISTS files (
    path BLOB PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, ctime_ns INTEGER NOT NULL,
    sha256 TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS scores (
    sha256 TEXT NOT NULL, model TEXT NOT NULL, probabilities BLOB NOT NULL, width INTEGER NOT NULL,
    height INTEGER NOT NULL, PRIMARY KEY (sha256, model)
) WITHOUT ROWID;
DROP TABLE IF EXISTS appearances; -- of earlier versions, without greys
CREATE TABLE IF NOT EXISTS looks (
    sha256 TEXT PRIMARY KEY, hash BLOB NOT NULL, taken TEXT, thumbnail BLOB, greys BLOB, exposure_bias REAL,
    sharpness REAL, exposure REAL
);
CREATE TABLE IF NOT EXISTS features (
    sha256 TEXT NOT NULL, model TEXT NOT NULL, features BLOB NOT NULL, PRIMARY KEY (sha256, model)
) WITHOUT ROWID;
"""


class CacheError(NimaError):
    """A file is not a cache of scores, or cannot be read or written."""


@dataclass(frozen=True)
class KnownScore:
    """A model's result for a photo.

    probabilities: probabilities of the ratings 1 to 10.
    width, height: sides of the upright photo, in pixels.
    """

    probabilities: tuple[float, ...]
    width: int
    height: int


@dataclass(frozen=True)
class HashedFile:
    """A file with the SHA-256 of its content.

    path: path of the file.
    stamp: its size in bytes, and the times of its last changes of content and of status in nanoseconds, when it was
        hashed.
    sha256: SHA-256 of its content.
    """

    path: Path
    stamp: tuple[int, int, int]
    sha256: str

    def is_unchanged(self) -> bool:
        """Returns True if the file's size and times are still the same."""
        return _stamp(self.path) == self.stamp


class ScoreCache:
    """A cache of scores and appearances, which several threads and processes may use at the same time.

    All methods raise `CacheError` if the file cannot be read or written.

    Args:
        path: the SQLite file; it is made if there is none.

    Raises:
        CacheError: the file is not a cache of this version, or cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = Lock()
        with self._guarded():
            # Several processes may write: each waits for the others this long.
            self._database = sqlite3.connect(path, timeout=30, check_same_thread=False)
            marks = (self._pragma("application_id"), self._pragma("user_version"))
            tables = self._database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            if marks != (_APPLICATION, _SCHEMA) and (tables or any(marks)):
                raise sqlite3.DatabaseError("it belongs to another program, or to another version of this one")
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = NORMAL")  # a power cut may cost batches, never the file
            self._database.executescript(
                f"BEGIN IMMEDIATE; {_TABLES} PRAGMA application_id = {_APPLICATION}; PRAGMA user_version = {_SCHEMA}; "
                "COMMIT;"
            )

    def identify(self, path: Path) -> HashedFile | None:
        """Returns a file with its hash, which is computed only if the file has changed since the last time.

        Returns None if it is not a plain file, cannot be read, or changes while it is read.
        """
        stamp = _stamp(path)
        if stamp is None:
            return None
        key = os.fsencode(os.path.abspath(path))
        with self._guarded():
            row = self._database.execute(
                "SELECT sha256 FROM files WHERE path = ? AND (size, mtime_ns, ctime_ns) = (?, ?, ?)", (key, *stamp)
            ).fetchone()
        if row is not None:
            return HashedFile(path, stamp, row[0])
        try:
            file = HashedFile(path, stamp, sha256_of(path))
        except FileError:
            return None
        if not file.is_unchanged():
            return None
        with self._guarded(), self._database:
            self._database.execute("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?)", (key, *stamp, file.sha256))
        return file

    def find(self, sha256: str, model: str) -> KnownScore | None:
        """Returns the score of a photo with this content by `model`; None if it is not known.

        `model` is a key that must change with everything that changes scores.
        """
        with self._guarded():
            row = self._database.execute(
                "SELECT probabilities, width, height FROM scores WHERE sha256 = ? AND model = ?", (sha256, model)
            ).fetchone()
        if row is None or len(row[0]) != 8 * BUCKETS:
            return None
        return KnownScore(tuple(np.frombuffer(row[0], dtype="<f8").tolist()), row[1], row[2])

    def add(self, model: str, found: Iterable[tuple[HashedFile, KnownScore]]) -> None:
        """Stores a batch in one transaction, without files that have changed since they were hashed."""
        rows = [
            (file.sha256, model, np.array(known.probabilities, dtype="<f8").tobytes(), known.width, known.height)
            for file, known in found
            if file.is_unchanged()
        ]
        with self._guarded(), self._database:
            self._database.executemany("INSERT OR REPLACE INTO scores VALUES (?, ?, ?, ?, ?)", rows)

    def find_features(self, sha256: str, model: str) -> NDArray[np.float16] | None:
        """Returns the features of a photo with this content, float16 `[features]`; None if they are not known.

        `model` is a key as for `find`.
        """
        with self._guarded():
            row = self._database.execute(
                "SELECT features FROM features WHERE sha256 = ? AND model = ?", (sha256, model)
            ).fetchone()
        return None if row is None else np.frombuffer(row[0], dtype="<f2")

    def add_features(self, model: str, found: Iterable[tuple[HashedFile, NDArray[np.float16]]]) -> None:
        """Stores a batch as `add` does."""
        rows = [
            (file.sha256, model, features.astype("<f2").tobytes()) for file, features in found if file.is_unchanged()
        ]
        with self._guarded(), self._database:
            self._database.executemany("INSERT OR REPLACE INTO features VALUES (?, ?, ?)", rows)

    def find_appearance(self, sha256: str, thumbnail: bool) -> Appearance | None:
        """Returns the appearance of a photo with this content; None if it, or the wanted thumbnail, is not known."""
        with self._guarded():
            row = self._database.execute(
                "SELECT hash, taken, iif(?, thumbnail, NULL), greys, exposure_bias, sharpness, exposure FROM looks "
                "WHERE sha256 = ?",
                (thumbnail, sha256),
            ).fetchone()
        if row is None or (thumbnail and row[2] is None):
            return None
        taken = None if row[1] is None else datetime.fromisoformat(row[1])
        greys = row[3] if row[3] is not None and len(row[3]) == GREYS_SIDE**2 else None
        return Appearance(int.from_bytes(row[0], "big"), taken, row[2], greys, *row[4:])

    def add_appearances(self, found: Iterable[tuple[HashedFile, Appearance]]) -> None:
        """Stores a batch as `add` does; a thumbnail that is already known stays."""
        rows = [
            (
                file.sha256,
                looks.hash.to_bytes(DIFFERENCE_HASH_BITS // 8, "big"),
                None if looks.taken is None else looks.taken.isoformat(),
                looks.thumbnail,
                looks.greys,
                looks.exposure_bias,
                looks.sharpness,
                looks.exposure,
            )
            for file, looks in found
            if file.is_unchanged()
        ]
        with self._guarded(), self._database:
            self._database.executemany(
                "INSERT INTO looks VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (sha256) DO UPDATE SET "
                "thumbnail = coalesce(excluded.thumbnail, thumbnail)",
                rows,
            )

    def close(self) -> None:
        """Closes the file."""
        with self._guarded():
            self._database.close()

    def _pragma(self, name: str) -> int:
        return int(self._database.execute(f"PRAGMA {name}").fetchone()[0])

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            with self._lock:
                yield
        except sqlite3.Error as error:
            raise CacheError(
                f"{self._path} cannot be used as a cache of scores ({error}): delete it or name another file."
            ) from error


class DispensableCache(ScoreCache):
    """A cache without which scoring goes on: its first error is reported, and it is not used any more.

    Args:
        path: the SQLite file; it is made if there is none.
        report: is called with the first error.

    Raises:
        CacheError: the file is not a cache of this version, or cannot be opened.
    """

    def __init__(self, path: Path, report: Callable[[CacheError], None]) -> None:
        super().__init__(path)
        self._report = report
        self._broken = False

    def identify(self, path: Path) -> HashedFile | None:
        return self._unless_broken(lambda: super(DispensableCache, self).identify(path))

    def find(self, sha256: str, model: str) -> KnownScore | None:
        return self._unless_broken(lambda: super(DispensableCache, self).find(sha256, model))

    def add(self, model: str, found: Iterable[tuple[HashedFile, KnownScore]]) -> None:
        self._unless_broken(lambda: super(DispensableCache, self).add(model, found))

    def find_features(self, sha256: str, model: str) -> NDArray[np.float16] | None:
        return self._unless_broken(lambda: super(DispensableCache, self).find_features(sha256, model))

    def add_features(self, model: str, found: Iterable[tuple[HashedFile, NDArray[np.float16]]]) -> None:
        self._unless_broken(lambda: super(DispensableCache, self).add_features(model, found))

    def find_appearance(self, sha256: str, thumbnail: bool) -> Appearance | None:
        return self._unless_broken(lambda: super(DispensableCache, self).find_appearance(sha256, thumbnail))

    def add_appearances(self, found: Iterable[tuple[HashedFile, Appearance]]) -> None:
        self._unless_broken(lambda: super(DispensableCache, self).add_appearances(found))

    def _unless_broken(self, use: Callable[[], Result]) -> Result | None:
        if self._broken:
            return None
        try:
            return use()
        except CacheError as error:
            if not self._broken:  # another thread may have been faster
                self._broken = True
                self._report(error)
            return None


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = os.stat(path)
    except (OSError, ValueError):  # a name with a zero byte raises ValueError
        return None
    return (status.st_size, status.st_mtime_ns, status.st_ctime_ns) if stat.S_ISREG(status.st_mode) else None
