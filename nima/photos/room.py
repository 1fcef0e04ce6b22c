"""Bounds the pixels that are decoded at the same time in this process, by as many threads as it may have.

A file of 200 kB can hold 59 megapixels, and a decoded pixel takes 8 to 12 bytes until its photo is reduced.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

MAX_PIXELS_IN_FLIGHT = 100_000_000
"""Limit of the pixels that are decoded at once; a larger photo is decoded alone."""


class Room:
    """Gives pixels to those who ask for them, in the order in which they ask.

    Args:
        pixels: number of pixels that may be in use at the same time.
    """

    def __init__(self, pixels: int) -> None:
        self._all = pixels
        self._free = pixels
        self._queue: deque[object] = deque()
        self._changed = threading.Condition()

    @contextmanager
    def of(self, pixels: int) -> Iterator[None]:
        """Waits until so many pixels are free, or all if there are fewer, and holds them for the block.

        A thread that holds pixels must not ask for more, because it might wait for itself.
        """
        pixels = min(pixels, self._all)
        ticket = object()
        with self._changed:
            self._queue.append(ticket)
            try:
                self._changed.wait_for(lambda: self._queue[0] is ticket and pixels <= self._free)
                self._free -= pixels
            finally:
                self._queue.remove(ticket)
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._free += pixels
                self._changed.notify_all()


DECODING = Room(MAX_PIXELS_IN_FLIGHT)
"""The pixels of all photos that are decoded now."""
