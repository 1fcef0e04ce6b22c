"""Finds the processes of a devnet, and waits until all of them have ended."""

from __future__ import annotations

import time
from pathlib import Path


def processes_of(name: str) -> list[str]:
    """Returns the command lines and environments of processes that name the devnet's folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            text = (path / "cmdline").read_bytes() + (path / "environ").read_bytes()
        except OSError:
            continue
        if f"/devnets/{name}/".encode() in text:
            found.append(path.name)
    return found


def gone(name: str) -> bool:
    """Waits some seconds for the end of the devnet's processes; returns whether all have ended."""
    deadline = time.monotonic() + 10
    while processes_of(name) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not processes_of(name)
