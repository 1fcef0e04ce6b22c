"""Writes files whole or not at all, reads files up to a size, and checks files by their hash."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from nima.errors import NimaError


class FileError(NimaError):
    """A file is missing, is not a plain file, is too large, or has another content than its name says."""


class AtomicFile:
    """A new file under a hidden, temporary name beside `path`. It replaces `path` when `keep` is called.

    This class is for work that does not fit into one `with` block; `atomic_file` is for a block. The code that makes an
    instance must call `discard` in the end, which removes the temporary file unless it was kept. A process that is
    killed before may leave the temporary file, but never an incomplete file at `path`.

    Args:
        path: the file to be made or replaced. A symbolic link there is replaced, and its target is not touched; resolve
            the path first to write to the target.
        mode: permissions of the file; None for those of the file that is replaced, or 0666 without the umask's bits if
            there is none.
        durable: True lets the file survive a power cut once it is kept, which costs the time of a write to the disk.
        buffering: the buffering of `file`, as for `open`.

    Raises:
        OSError: the folder does not exist or cannot be written.
    """

    file: BinaryIO
    """The temporary file, open for writing and reading bytes."""

    def __init__(self, path: Path, *, mode: int | None = None, durable: bool = True, buffering: int = -1) -> None:
        self.path = path
        self._durable = durable
        # A name may have 255 bytes, and a character up to four.
        self._temporary = path.with_name(f".{path.name[:50]}.{secrets.token_hex(8)}")
        kept = _permissions(path) if mode is None else mode
        handle = os.open(
            self._temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666 if kept is None else kept
        )
        self.file = open(handle, "w+b", buffering=buffering)  # noqa: SIM115 (open beyond this call)
        if kept is not None:
            os.fchmod(handle, kept)  # the umask may have removed some permissions

    def keep(self) -> None:
        """Closes the file and replaces `path` by it. Raises `OSError` if the disk is full or fails."""
        self.file.flush()
        if self._durable:
            os.fsync(self.file.fileno())
        self.file.close()
        os.replace(self._temporary, self.path)
        if self._durable:
            _sync_folder(self.path.parent)

    def discard(self) -> None:
        """Closes the file and removes it, unless it was kept."""
        with contextlib.suppress(OSError):  # a full disk has no room for the rest of the buffer
            self.file.close()
        self._temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_file(path: Path, *, mode: int | None = None, durable: bool = True) -> Iterator[BinaryIO]:
    """Yields a new binary file, which replaces `path` when the block ends; an exception leaves `path` as it was.

    Nobody ever sees an incomplete file, not even after a power cut. `AtomicFile` explains the arguments. Raises
    `OSError` if the folder does not exist or cannot be written.
    """
    replacement = AtomicFile(path, mode=mode, durable=durable)
    try:
        yield replacement.file
        replacement.keep()
    finally:
        replacement.discard()


def write_atomically(path: Path, content: bytes, *, mode: int | None = None, durable: bool = True) -> None:
    """Writes `content` to a file as `atomic_file` does, and raises the same errors."""
    with atomic_file(path, mode=mode, durable=durable) as file:
        file.write(content)


def read_bounded(path: Path, max_bytes: int) -> bytes:
    """Reads a plain file of at most `max_bytes`.

    Raises `FileError` if the file is larger (it is then not read to its end), is a symbolic link, or cannot be read.
    """
    try:
        # Opened without blocking, so that a FIFO at this path cannot hang the reader; a link is not followed.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        with open(handle, "rb") as file:
            # One byte more than allowed shows that a file is too long, whatever size the file system reports.
            content = file.read(max_bytes + 1)
    except OSError as error:
        raise FileError(f"{path} could not be read: {error.strerror}.") from error
    if len(content) > max_bytes:
        raise FileError(f"{path} is larger than the {max_bytes} bytes that it may have.")
    return content


def check_size(path: Path, max_bytes: int) -> Path:
    """Returns `path` if it is a plain file of at most `max_bytes`, for a library that opens files itself.

    Raises `FileError` if the file is larger, is no plain file (a link is none), or its state cannot be read.
    """
    try:
        status = path.lstat()
    except OSError as error:
        raise FileError(f"{path} could not be read: {error.strerror}.") from error
    if not stat.S_ISREG(status.st_mode):
        raise FileError(f"{path} could not be read: it is no plain file.")
    if status.st_size > max_bytes:
        raise FileError(f"{path} is larger than the {max_bytes} bytes that it may have.")
    return path


def sha256_of(path: Path) -> str:
    """Computes the SHA-256 of a file's content as 64 hexadecimal digits. Raises `FileError` if it cannot be read."""
    try:
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        return digest.hexdigest()
    except OSError as error:
        raise FileError(f"{path} could not be read: {error.strerror}.") from error


def check_sha256(path: Path, sha256: str) -> Path:
    """Returns `path` if its content has this hash. Raises `FileError` if it has another, or cannot be read."""
    actual = sha256_of(path)
    if actual != sha256:
        raise FileError(f"{path} is not what was asked for: its sha256 is {actual}.")
    return path


def _permissions(path: Path) -> int | None:
    """Returns the permissions of the plain file at `path`; None if there is none."""
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_mode & 0o777 if stat.S_ISREG(status.st_mode) else None


def _sync_folder(folder: Path) -> None:
    """Writes the names in a folder to the disk; does nothing if the file system does not support it."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
