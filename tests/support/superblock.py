"""Makes the beginning of a squashfs file, without the rest."""

from __future__ import annotations

import struct


def squashfs(body: bytes = b"\0" * 100, *, compression: int = 4, used: int | None = None) -> bytes:
    """Returns a superblock of squashfs 4.0 with `body` behind it."""
    size = 96 + len(body) if used is None else used
    head = struct.pack("<4s4I6H5Q", b"hsqs", 1, 0, 131072, 0, compression, 17, 0, 1, 4, 0, 0, size, 0, 0, 0)
    return head.ljust(96, b"\0") + body
