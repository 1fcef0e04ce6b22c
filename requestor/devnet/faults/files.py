"""Defines faults of providers that do the work, but send something else instead of the files that a task writes.

They work in any project. If a `result.json` beside a file names its hash, the hash is corrected, so that only the
content of the file shows the fault.
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
from requestor.devnet.faults.work import ProgramRun

OVERSIZED_BYTES = 2 * 2**30
PICKLE_LOADED = "a pickle that a provider sent was loaded"
OUTSIDE = "../../../../zip-slip.txt"
_STEAL_SECONDS, _POLL_SECONDS = 20.0, 0.5
_SENT_SECONDS = 2.0  # after this time, another provider has surely sent what it wrote


class FileFault(Fault):
    """Replaces every file that a task writes."""

    async def run(self, work: ProgramRun, execute: Execute) -> int:
        code = await execute()
        for path in work.outputs():
            await asyncio.to_thread(self.alter, work, path)
        return code

    def alter(self, work: ProgramRun, path: Path) -> None:
        """Changes one output in place."""
        work.replace(path, self.instead_of(path))

    def instead_of(self, path: Path) -> bytes:
        """Returns the content that is sent instead of the output at `path`."""
        raise NotImplementedError


class Garbage(FileFault):
    """Sends random bytes, as many as the file had."""

    def instead_of(self, path: Path) -> bytes:
        return random.Random(path.name).randbytes(path.stat().st_size)


class Truncated(FileFault):
    """Sends the first half of the file."""

    def instead_of(self, path: Path) -> bytes:
        content = path.read_bytes()
        return content[: len(content) // 2]


class Oversized(FileFault):
    """Sends 2 GiB of zeros in chunks, from a sparse file that takes no room on this machine.

    The hash in a `result.json` stays that of the true file.
    """

    def alter(self, work: ProgramRun, path: Path) -> None:
        os.truncate(path, 0)
        os.truncate(path, OVERSIZED_BYTES)


class Pickle(FileFault):
    """Sends a pickle that ends the program that loads it."""

    def instead_of(self, path: Path) -> bytes:
        return pickle.dumps(_Trap())


class _Trap:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, (f"raise SystemExit({PICKLE_LOADED!r})",)


class ZipSlip(FileFault):
    """Sends a zip archive with paths that lead out of its folder.

    A `result.json` gets such a path as the name of its output, too.
    """

    def alter(self, work: ProgramRun, path: Path) -> None:
        super().alter(work, path)
        work.describe(path, output=OUTSIDE)

    def instead_of(self, path: Path) -> bytes:
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as file:
            for name in (OUTSIDE, "/tmp/zip-slip.txt"):
                file.writestr(name, "this file should not be here")
        return archive.getvalue()


class Stale(FileFault):
    """Sends the true files of its first task, and after that the same content again for each file of the same name."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._first: dict[str, bytes] = {}

    def instead_of(self, path: Path) -> bytes:
        return self._first.setdefault(path.name, path.read_bytes())


class Replay(FileFault):
    """Sends another provider's file of the same name and size, which it takes from the folder of an activity.

    Sends its own file if none appears within 20 s.
    """

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
