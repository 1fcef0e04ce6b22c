"""Files named by their content, written atomically, read with a bound."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from nima.errors import NimaError


class FileError(NimaError):
    """A file that is missing, not a plain file, too large, or not what its name says."""


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file so that nobody ever sees half of it, not even after a power cut. Raises `OSError`."""
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp's 0600 would keep it from everybody else
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def read_bounded(path: Path, max_bytes: int) -> bytes:
    """The content of a plain file of at most `max_bytes`; a longer one is not read. Raises `FileError`."""
    try:
        # Non-blocking, so that a FIFO in the place of the file cannot hang the reader; a link is not
        # followed.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        with open(handle, "rb") as file:
            # One byte more than allowed tells a file that is too long, whatever its size was said to be.
            content = file.read(max_bytes + 1)
    except OSError as error:
        raise FileError(f"{path} could not be read: {error.strerror}.") from error
    if len(content) > max_bytes:
        raise FileError(f"{path} is larger than the {max_bytes} bytes that it may have.")
    return content


def sha256_of(path: Path) -> str:
    """The hash of a file's content, 64 hexadecimal digits. Raises `FileError`."""
    try:
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        return digest.hexdigest()
    except OSError as error:
        raise FileError(f"{path} could not be read: {error.strerror}.") from error


def check_content(path: Path, sha256: str) -> Path:
    """`path`, if its content has that hash; raises `FileError` where it has not."""
    actual = sha256_of(path)
    if actual != sha256:
        raise FileError(f"{path} is not what was asked for: its sha256 is {actual}.")
    return path
