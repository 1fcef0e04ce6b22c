"""Describes one program that a provider runs, and finds the files that it writes to the activity's volumes."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from nima.safe_io import sha256_of, write_atomically
from nima.wire import RESULT_FILE

_Stamp = tuple[int, int, int]  # inode, time of change, size


class ProgramRun:
    """Describes one program and its volumes.

    Create this object before the program runs, so that it can tell afterwards which files were written.

    Args:
        argv: the program and its arguments.
        volumes: path in the container → folder on the host.
    """

    def __init__(self, argv: Sequence[str], volumes: Mapping[str, Path]) -> None:
        self.argv = tuple(argv)
        self._volumes = dict(volumes)
        self._before = dict(self._files())

    def host_path(self, path: str) -> Path | None:
        """Returns the host's path of a file in the container; None if no volume holds it."""
        for volume, folder in self._volumes.items():
            if path.startswith(volume + "/") and ".." not in path.split("/"):
                return folder / path[len(volume) + 1 :]
        return None

    def outputs(self) -> list[Path]:
        """Returns the files that the program has written, by name.

        A `result.json` is left out if it only describes another written file beside it.
        """
        written = sorted(path for path, stamp in self._files() if self._before.get(path) != stamp)
        beside = {path.parent for path in written if path.name != RESULT_FILE}
        return [path for path in written if path.name != RESULT_FILE or path.parent not in beside]

    def replace(self, path: Path, content: bytes) -> None:
        """Replaces the content of an output; updates the hash in a `result.json` beside it, if that has one."""
        write_atomically(path, content)
        self.describe(path, output_sha256=sha256_of(path))

    def describe(self, path: Path, **changes: str) -> None:
        """Changes fields of the `result.json` beside an output, if there is one that names the output."""
        described = path.with_name(RESULT_FILE)
        try:
            result = json.loads(described.read_text())
        except (OSError, ValueError):
            return
        if isinstance(result, dict) and result.get("output") == path.name:
            write_atomically(described, json.dumps({**result, **changes}, indent=1).encode())

    def _files(self) -> Iterator[tuple[Path, _Stamp]]:
        """Yields all plain files of the volumes; links are not followed."""
        for volume in self._volumes.values():
            for folder, _, names in os.walk(volume):
                for name in names:
                    path = Path(folder, name)
                    found = path.lstat()
                    if stat.S_ISREG(found.st_mode):
                        yield path, (found.st_ino, found.st_mtime_ns, found.st_size)
