"""Runs commands that look at runs, and waits for the files that a run writes."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path


def runs(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs `nima-golem runs` with these arguments."""
    program = [sys.executable, "-m", "requestor.commands.main", "runs", *arguments]
    return subprocess.run(program, capture_output=True, text=True, timeout=250)


def wait_for(path: Path, process: subprocess.Popen) -> None:
    """Waits until a running command has written the file `path`."""
    deadline = time.monotonic() + 120
    while not path.exists():
        assert process.poll() is None, process.stderr.read() if process.stderr else "the run ended early"
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.05)
