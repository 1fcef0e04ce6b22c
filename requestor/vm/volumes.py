"""Reads and writes an activity's volumes: host folders that a task fills as it likes, and that transfers use.

A path in a volume is opened without following symbolic links; a real exe-unit follows them. So a task cannot lead the
provider to a file of the host.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path


class TransferFailed(Exception):
    """Says that a transfer has failed. The requestor sees this text after `Transfer error: `."""


class Volumes:
    """Opens and replaces files in an activity's volumes.

    `folders`: absolute path in the container → folder on the host.
    """

    def __init__(self, folders: Mapping[str, Path]) -> None:
        self.folders = dict(folders)

    def resolve(self, path: str) -> tuple[Path, tuple[str, ...]]:
        """Returns the volume's host folder and the names below it. Raises TransferFailed if no volume holds `path`."""
        inside = [volume for volume in self.folders if path == volume or path.startswith(volume + "/")]
        if not inside:
            raise TransferFailed(f"IO error: path not found in container: {path}")
        volume = max(inside, key=len)
        rest = path[len(volume) + 1 :]
        if rest.startswith("/"):
            raise TransferFailed(f"IO error: invalid path format: [{path}]")
        names = tuple(name for name in rest.split("/") if name not in ("", "."))
        if ".." in names:
            raise TransferFailed(f"IO error: path not found in container: {path}")
        return self.folders[volume], names

    @contextlib.contextmanager
    def open(self, path: str) -> Iterator[int]:
        """Opens the file at `path` for reading, and yields its descriptor. Raises TransferFailed if that fails."""
        folder, names = self.resolve(path)
        if not names:
            raise TransferFailed("IO error: Is a directory (os error 21)")
        with _os_errors(), _folder(folder, names[:-1], create=False) as parent:
            descriptor = os.open(names[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=parent)
            try:
                if not os.path.isfile(f"/proc/self/fd/{descriptor}"):
                    raise IsADirectoryError(21, "Is a directory")
                yield descriptor
            finally:
                os.close(descriptor)

    def size(self, path: str) -> int:
        """Returns the number of bytes of the file at `path`; 0 if there is none."""
        try:
            with self.open(path) as descriptor:
                return os.fstat(descriptor).st_size
        except TransferFailed:
            return 0

    def place(self, source: Path, path: str) -> None:
        """Moves the file `source` to `path`; creates folders, and replaces the file that was there.

        Raises TransferFailed if no volume holds `path`, or if the file cannot be moved.
        """
        target, names = self.resolve(path)
        if not names:
            raise TransferFailed("IO error: Is a directory (os error 21)")
        with _os_errors(), _folder(target, names[:-1], create=True) as parent:
            os.chmod(source, 0o644)
            os.rename(source, names[-1], dst_dir_fd=parent)


@contextlib.contextmanager
def _folder(root: Path, names: tuple[str, ...], *, create: bool) -> Iterator[int]:
    """Yields a descriptor of the folder `names` below `root`; symbolic links are not followed."""
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in names:
            if create:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, 0o755, dir_fd=descriptor)
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            below = os.open(name, flags, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _os_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise TransferFailed(f"IO error: {error.strerror} (os error {error.errno})") from error
