"""Counts what an activity has used so far, as an exe-unit does (yagna `exe-unit/components/counters`)."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

from requestor.golem import property_names

_TICKS = os.sysconf("SC_CLK_TCK")


class UsageCounters:
    """Counts what one activity uses. Its time begins with this object, so downloads and idle time count."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._past_cpu = 0.0  # CPU seconds of sandboxes that have ended
        self._current_cpu = 0.0
        self._pid: int | None = None

    def watch(self, pid: int | None) -> None:
        """Counts the CPU time of process `pid` and of all its descendants from now on; with None, of no process."""
        self._past_cpu, self._current_cpu = self._cpu(), 0.0
        self._pid = pid

    def vector(self, names: Sequence[str]) -> list[float]:
        """Returns the values of the counters `names`, in that order: the seconds so far, or the CPU seconds.

        Raises ValueError for a counter that a VM provider does not price.
        """
        counters = {property_names.DURATION: self._duration, property_names.CPU: self._cpu}
        if unknown := [name for name in names if name not in counters]:
            raise ValueError(f"no such counter: {unknown[0]}")
        return [counters[name]() for name in names]

    def _duration(self) -> float:
        return time.monotonic() - self._started

    def _cpu(self) -> float:
        if self._pid is not None:
            # the time of processes that ended and were reaped is not lost: their parent's figures include it
            self._current_cpu = max(self._current_cpu, sum(cpu_seconds(self._pid)))
        return self._past_cpu + self._current_cpu


def cpu_seconds(root: int) -> list[float]:
    """Returns the CPU times of `root` and of each live descendant, each in whole seconds.

    The time of a process includes that of its reaped children.
    """
    children: dict[int, list[int]] = {}
    seconds: dict[int, float] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_bytes().rpartition(b")")[2].split()
        except OSError:
            continue  # the process has ended meanwhile
        pid = int(entry.name)
        children.setdefault(int(fields[1]), []).append(pid)
        seconds[pid] = float(sum(map(int, fields[11:15])) // _TICKS)
    found, pending = [], [root]
    while pending:
        pid = pending.pop()
        if pid in seconds:
            found.append(seconds[pid])
        pending += children.get(pid, [])
    return found
