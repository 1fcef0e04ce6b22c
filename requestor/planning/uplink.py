"""Limits the time that uploads take, and lets only a few providers be sent files at the same time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

USUAL_UPLINK = 20e6 / 8  # bytes a second that this machine sends to all providers together, as is assumed: a home's
LEAST_UPLINK = 2e6 / 8  # the least that is assumed; the time limits of uploads follow from it
UPLOADS_AT_ONCE = 4  # more would share the uplink, and the first provider would begin to work later
UPLOAD_SECONDS = 15.0  # time limit of an upload without bytes: requests, and the retries of a provider's transfer


def upload_seconds(size: int, uplink: float = LEAST_UPLINK) -> float:
    """Returns the time limit in seconds of one provider's upload, which shares the uplink with others.

    Args:
        size: bytes of all files of the upload; 0 if there is nothing to send, which takes no time.
        uplink: bytes a second from this machine to all providers together.
    """
    return UPLOAD_SECONDS + size * UPLOADS_AT_ONCE / uplink if size else 0.0


def bytes_of(paths: Iterable[Path]) -> int:
    """Returns the bytes of all files together. A file that does not exist counts nothing: its upload will fail."""
    size = 0
    for path in paths:
        with suppress(OSError):
            size += path.stat().st_size
    return size


@dataclass(frozen=True)
class Upload:
    """One provider's upload that has begun.

    until: end of its time limit, in seconds of `time.monotonic`.
    others: number of uploads that had ended well when it began.
    """

    until: float
    others: int


class Uplink:
    """Gives the providers their turns on this machine's uplink, in the order in which they ask.

    Only `UPLOADS_AT_ONCE` providers are sent files at the same time. So the first ones soon have all their files and
    begin to work, while the others wait.
    """

    def __init__(self) -> None:
        self._finished = 0
        self._line: list[object] = []  # those that are sent files, and behind them those that wait
        self._moved = asyncio.Event()

    @asynccontextmanager
    async def turn(self, can_wait: Callable[[], bool]) -> AsyncIterator[bool]:
        """Waits for a turn, which lasts as long as the context; the value is False if there is no turn in time.

        Args:
            can_wait: returns False if the provider may not wait any longer; it is called every second.
        """
        ticket = object()
        self._line.append(ticket)
        try:
            while not (has_turn := ticket in self._line[:UPLOADS_AT_ONCE]) and can_wait():
                moved = self._moved
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(moved.wait(), 1.0)
            yield has_turn
        finally:
            self._line.remove(ticket)
            self._moved.set()
            self._moved = asyncio.Event()

    def begin(self, seconds: float) -> Upload:
        """Returns an upload that begins now and has a time limit of so many seconds."""
        return Upload(time.monotonic() + seconds, self._finished)

    def finish(self) -> None:
        """Notes that an upload has ended well."""
        self._finished += 1

    def is_to_blame(self, upload: Upload) -> bool:
        """Returns True if an upload took too long, and nobody else's ended well meanwhile: so the uplink is too slow.

        If others were sent all their files in this time, the provider is too slow, or does not want them.
        """
        return time.monotonic() >= upload.until and upload.others == self._finished
