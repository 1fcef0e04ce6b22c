"""Tells the time that passes, also while this machine sleeps: providers work, and bill, on.

`time.monotonic` stands still in a suspend. The boot time goes on, but stands still while a virtual machine is paused;
the wall clock goes on then, but can be set.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock


def _boot_time() -> float:
    # Only Linux has it; other systems count a suspend as time of the wall clock only.
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Clock:
    """Measures the time that has passed since the first look, in seconds; it never goes backwards.

    Between two looks, as much time has passed as the clock says that went furthest. So a step of the wall clock to
    later counts, which is in favour of the provider, and a step to earlier does not.

    Args:
        awake: stands still while this machine sleeps.
        boot: goes on while this machine sleeps.
        wall: the time of day.
    """

    def __init__(
        self,
        awake: Callable[[], float] = time.monotonic,
        boot: Callable[[], float] = _boot_time,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._clocks = (awake, boot, wall)
        self._lock = Lock()
        self._last = self._read()
        self._passed = 0.0
        self._awake = 0.0

    def __call__(self) -> float:
        """Returns the seconds that have passed, gaps included."""
        self._look()
        return self._passed

    def asleep(self) -> float:
        """Returns the seconds of all gaps: those in which this program did not run."""
        self._look()
        return self._passed - self._awake

    def _read(self) -> tuple[float, ...]:
        return tuple(clock() for clock in self._clocks)

    def _look(self) -> None:
        with self._lock:
            now = self._read()
            steps = [current - last for current, last in zip(now, self._last, strict=True)]
            self._last = now
            self._passed += max(0.0, *steps)
            self._awake += max(0.0, steps[0])


CLOCK = Clock()
"""The clock of this process."""
