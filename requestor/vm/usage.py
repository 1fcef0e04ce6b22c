"""Counts what an activity has used so far, as an exe-unit does (yagna `exe-unit/components/counters`)."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

from requestor.golem import property_names

_TICKS = os.sysconf("SC_CLK_TCK")


class UsageCounters:
    """Counts what one activity uses. Its time begins with this object, so downloads and idle time count.

    An exe-unit adds up its process tree in whole seconds of each process, and corrects the sum upwards by `getrusage`,
    which knows the processes that have ended, and their time exactly. On a provider, the tree also has the emulator and
    the exe-unit itself (os/unix.rs).

    overhead: CPU time that the VM takes beside its programs, as a share of theirs, 0 or more.
    """

    def __init__(self, overhead: float = 0.0) -> None:
        self._started = time.monotonic()
        self._overhead = overhead
        self._past_cpu = 0.0  # CPU seconds of sandboxes that have ended
        self._current_cpu = 0.0
        self._pid: int | None = None

    def watch(self, pid: int | None) -> None:
        """Counts the CPU time of process `pid` and of all its descendants from now on; with None, of no process.

        The processes that were watched before must still run, so that their time is known exactly.
        """
        if self._pid is not None:
            self._past_cpu += max(self._current_cpu, sum(cpu_ticks(self._pid)) / _TICKS)
        self._current_cpu, self._pid = 0.0, pid

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
            self._current_cpu = max(self._current_cpu, float(sum(ticks // _TICKS for ticks in cpu_ticks(self._pid))))
        return (self._past_cpu + self._current_cpu) * (1 + self._overhead)


def cpu_ticks(root: int) -> list[int]:
    """Returns the CPU times of `root` and of each live descendant, in clock ticks (`SC_CLK_TCK` a second).

    The time of a process includes that of its reaped children.
    """
    children: dict[int, list[int]] = {}
    ticks: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_bytes().rpartition(b")")[2].split()
        except OSError:
            continue  # the process has ended meanwhile
        pid = int(entry.name)
        children.setdefault(int(fields[1]), []).append(pid)
        ticks[pid] = sum(map(int, fields[11:15]))
    found, pending = [], [root]
    while pending:
        pid = pending.pop()
        if pid in ticks:
            found.append(ticks[pid])
        pending += children.get(pid, [])
    return found
