"""Work that is ended by signals, as they come to the whole process group of a terminal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from pseudo_terminal import PseudoTerminal

PROGRAM = """
import asyncio
from requestor.errors import RunStopped
from requestor.terminal import run_until_stopped

async def work():
    print("begun", flush=True)
    try:
        for _ in range(1000):
            await asyncio.sleep(0.05)
            if stopping:
                return "finished the part"
    finally:
        print("cleaned up", flush=True)

stopping = []

def stop():
    stopping.append(True)
    return PART

try:
    print(asyncio.run(run_until_stopped(work(), stop, "All is kept.", "Cleaning up.")))
except RunStopped as stopped:
    print(stopped)
"""


def run(part: str | None, number: signal.Signals) -> str:
    program = PROGRAM.replace("PART", repr(part))
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    os.killpg(process.pid, number)
    output, _ = process.communicate(timeout=30)
    return output


def test_ctrl_c_finishes_the_part_that_is_worth_waiting_for() -> None:
    assert run("this round", signal.SIGINT).splitlines() == [
        "Stopping after this round. Press Ctrl-C again to stop now.", "cleaned up", "finished the part",
    ]  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals_end_the_work_which_cleans_up(number: signal.Signals) -> None:
    assert run("this round", number).splitlines() == ["Cleaning up.", "cleaned up", "All is kept."]


def test_a_closed_terminal_ends_the_work_which_cleans_up_and_writes_nowhere(tmp_path: Path) -> None:
    program = PROGRAM.replace("PART", "None").replace(
        'print("cleaned up"', 'Path("cleaned").touch(); print("cleaned up"'
    )
    (tmp_path / "work.py").write_text(f"from pathlib import Path\n{program}")
    with PseudoTerminal.running([], tmp_path, program=[sys.executable, "work.py"]) as terminal:
        terminal.wait_for("begun")
        terminal.close()
        assert terminal.exit_code(30) == 0
    assert (tmp_path / "cleaned").exists()


def test_ctrl_c_ends_work_that_has_no_such_part() -> None:
    assert run(None, signal.SIGINT).splitlines() == ["Cleaning up.", "cleaned up", "All is kept."]
