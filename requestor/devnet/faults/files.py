"""Providers that do the work and send something else: whatever files a task writes, for any project.

Where a `result.json` beside the file knows its hash, it is put right, so that only a look at the content tells.
"""

from __future__ import annotations

import asyncio
import io
import os
import pickle
import random
import stat
import time
import zipfile
from pathlib import Path

from requestor.devnet.faults.fault import Execute, Fault
from requestor.devnet.faults.work import Work

OVERSIZED_BYTES = 2 * 2**30
PICKLE_LOADED = "a pickle that a provider sent was loaded"
OUTSIDE = "../../../../zip-slip.txt"
_STEAL_SECONDS, _POLL_SECONDS = 20.0, 0.5
_SENT_SECONDS = 2.0  # after which a neighbour has surely sent what it wrote


class FileFault(Fault):
    """Replaces every file that a task writes."""

    async def run(self, work: Work, execute: Execute) -> int:
        code = await execute()
        for path in work.outputs():
            await asyncio.to_thread(self.alter, work, path)
        return code

    def alter(self, work: Work, path: Path) -> None:
        """Change one output where it lies."""
        work.replace(path, self.instead_of(path))

    def instead_of(self, path: Path) -> bytes:
        """What is sent instead of an output."""
        raise NotImplementedError


class Garbage(FileFault):
    """Random bytes, as many as there were."""

    def instead_of(self, path: Path) -> bytes:
        return random.Random(path.name).randbytes(path.stat().st_size)


class Truncated(FileFault):
    """The first half."""

    def instead_of(self, path: Path) -> bytes:
        content = path.read_bytes()
        return content[: len(content) // 2]


class Oversized(FileFault):
    """2 GiB of zeros, which take no room here: a sparse file, sent in chunks. A `result.json` keeps the old hash."""

    def alter(self, work: Work, path: Path) -> None:
        os.truncate(path, 0)
        os.truncate(path, OVERSIZED_BYTES)


class Pickle(FileFault):
    """A pickle that ends whatever program loads it."""

    def instead_of(self, path: Path) -> bytes:
        return pickle.dumps(_Trap())


class _Trap:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, (f"raise SystemExit({PICKLE_LOADED!r})",)


class ZipSlip(FileFault):
    """A zip archive with paths out of its folder; a `result.json` names its output by such a path, too."""

    def alter(self, work: Work, path: Path) -> None:
        super().alter(work, path)
        work.describe(path, output=OUTSIDE)

    def instead_of(self, path: Path) -> bytes:
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as file:
            for name in (OUTSIDE, "/tmp/zip-slip.txt"):
                file.writestr(name, "this file should not be here")
        return archive.getvalue()


class Stale(FileFault):
    """The first task is done well; from then on the same file is sent again and again, by name."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._first: dict[str, bytes] = {}

    def instead_of(self, path: Path) -> bytes:
        return self._first.setdefault(path.name, path.read_bytes())


class Replay(FileFault):
    """Another provider's file of the same name and size, from its activity; its own where none comes up in 20 s."""

    def instead_of(self, path: Path) -> bytes:
        deadline = time.monotonic() + _STEAL_SECONDS
        while (stolen := self._newest_like(path)) is None:
            if time.monotonic() > deadline:
                return path.read_bytes()
            time.sleep(_POLL_SECONDS)
        return stolen.read_bytes()

    def _newest_like(self, path: Path) -> Path | None:
        size, latest = path.stat().st_size, time.time() - _SENT_SECONDS
        found: list[tuple[float, Path]] = []
        for neighbour in self.folder.parent.iterdir():
            if neighbour == self.folder:
                continue
            for folder, _, names in os.walk(neighbour / "activities"):
                if path.name in names:
                    candidate = Path(folder, path.name)
                    about = candidate.lstat()
                    if stat.S_ISREG(about.st_mode) and about.st_size == size and about.st_mtime < latest:
                        found.append((about.st_mtime, candidate))
        return max(found)[1] if found else None
