"""Defines what both ends of Golem's file transfer (gftp) use: messages, limits, and files that appear whole.

A requestor publishes a file as `gftp://<node id>/<sha3-256 of the file>` and takes one in at
`gftp://<node id>/<random name>`; providers pull and push chunks through their own daemon. Messages, at
`/public/gftp/<name>` of the requestor's node: `GetMetadata` → `{fileSize}`; `GetChunk {offset, size}` →
`{offset, content}`; `UploadChunk {chunk: {offset, content}}`; `UploadFinished {hash}`. Source: yagna's core/gftp.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import BinaryIO

from nima.safe_io import AtomicFile
from requestor.errors import TransferError

GOLEM_CHUNK = 40 * 1024
"""Bytes that Golem's own programs send in one message."""
CHUNK = 256 * 1024
"""Bytes that this project's provider end sends in one message. Any gftp accepts them. With `GOLEM_CHUNK`, the two
daemons on the way would spend most of their time on the number of messages."""
MAX_CHUNK = 1024 * 1024
"""Bytes of the largest chunk that is served; a caller that asks for more gets so much."""
MAX_READINGS = 4
"""The number of times that one caller may read each byte of a published file: once, and again if transfers break off.

The daemon keeps what a caller does not take, so more would fill the daemon's memory.
"""
MAX_FILE = 4 * 1024**3
"""Bytes of the largest file that is received if the caller names no limit."""
FILE_TOO_LARGE = "the file would have more than"
"""Begins the message to the sender of a file that is too large; the sender's error message repeats it."""
SHA3_DIGITS = 64
"""Number of hex digits of a file's hash."""
ADDITION = 16
"""Hex digits after the hash in the name of a published file, if another program on the bus serves an equal file."""
MAX_RECEIVE_VARIABLE = "NIMA_GOLEM_GFTP_MAX_RECEIVE"
"""Environment variable with another limit for `gftp server`, in bytes."""

_LIMITED = re.compile(r"at-most-(\d{1,18})-bytes")
_URL = re.compile(r"gftp://(0x[0-9a-fA-F]{40})/([0-9A-Za-z]{1,128})")


def parse_url(url: str) -> tuple[str, str]:
    """Returns the node id and the name in a gftp URL.

    Raises:
        TransferError: `url` is no gftp URL.
    """
    match = _URL.fullmatch(url)
    if match is None:
        raise TransferError(f"{url!r:.200} is no gftp URL: write gftp://NODE_ID/NAME.")
    return match[1], match[2]


def folder_for_files_of(max_bytes: int, folder: Path) -> Path:
    """Returns the folder, in `folder`, in which a file server receives no file of more than `max_bytes`.

    yapapi's requests to the file server have no place for a limit, so the path has it.
    """
    return folder / f"at-most-{max_bytes}-bytes"


def limit_of(path: Path, max_bytes: int) -> int:
    """Returns the bytes that a file may have at `path`: those that its folder names, but not more than `max_bytes`."""
    match = _LIMITED.fullmatch(path.parent.name)
    return max_bytes if match is None else min(max_bytes, int(match[1]))


def sha3_256(file: BinaryIO) -> str:
    """Returns the SHA3-256 of a whole open file, as 64 hex digits."""
    digest = hashlib.sha3_256()
    file.seek(0)
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def number(message: object, name: str) -> int:
    """Returns a field of a message from the other side that must be an integer of at least 0.

    Raises:
        TransferError: the field is missing, or no such integer.
    """
    value = message.get(name) if isinstance(message, dict) else None
    if type(value) is not int or value < 0:
        raise TransferError(f"a message without a proper {name!r} arrived")
    return value


def chunk(message: object) -> tuple[int, bytes]:
    """Returns the offset and the bytes of a chunk from the other side.

    Raises:
        TransferError: the message is no chunk.
    """
    content = message.get("content") if isinstance(message, dict) else None
    if not isinstance(content, bytes):
        raise TransferError("a chunk without content arrived")
    return number(message, "offset"), content


class PartialFile(AtomicFile):
    """Writes a file that arrives in chunks, in any order, and that appears at `path` when it is kept.

    The folder of `path` is made if it is missing.

    Raises:
        OSError: the folder cannot be made or written.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Readable for the programs of a VM, which may run as another user. Not durable: a wait for the disk would delay
        # all other messages, and a file that a power cut destroys is sent again.
        super().__init__(path, mode=0o644, durable=False, buffering=0)

    def write(self, offset: int, content: bytes) -> None:
        """Writes `content` at `offset`, in bytes. Raises OSError."""
        os.pwrite(self.file.fileno(), content, offset)
