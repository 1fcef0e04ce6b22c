"""Runs commands that look at runs, and waits for the files that a run writes."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from click.testing import CliRunner

from requestor.commands.main import main


def nima_golem(
    *arguments: str, folder: Path | None = None, environment: Mapping[str, str | None] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs a command in this process, which has imported PyTorch already, in `folder`; None removes a variable.

    It is for commands that end soon: no signal reaches them.
    """
    before = Path.cwd()
    os.chdir(folder or before)
    try:
        result = CliRunner().invoke(main, arguments, env=environment)
    finally:
        os.chdir(before)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return subprocess.CompletedProcess(arguments, result.exit_code, result.stdout, result.stderr)


def runs(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs `nima-golem runs` with these arguments."""
    return nima_golem("runs", *arguments)


def wait_for(path: Path, process: subprocess.Popen) -> None:
    """Waits until a running command has written the file `path`."""
    deadline = time.monotonic() + 120
    while not path.exists():
        assert process.poll() is None, process.stderr.read() if process.stderr else "the run ended early"
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.05)
