"""Ctrl-C, a closed terminal and SIGTERM for every command that hires: it ends cleanly, and no provider is blamed.

With NIMA_GOLEM_EVERY_FAILURE=1 in the environment, every way is tried with every such command, otherwise some are.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from allocations import open_allocations
from ava_folder import make_ava_folder
from pseudo_terminal import PseudoTerminal

from nima.model import checkpoint
from nima.model.network import initial_model
from requestor.devnet.state import Devnet
from requestor.records.ledger import Ledger

pytestmark = pytest.mark.golem

TRAIN = ["train", "--ava", "ava", "--budget", "2GLM", "--strategy", "embed", "--run-dir", "runs/it"]
EVALUATE = ["evaluate", "--model", "m.safetensors", "--ava", "ava", "--backend", "golem", "--budget", "1GLM"]
RESUME = ["runs", "resume", "runs/it"]
ENDING = "Ending the agreements and waiting for the bills."
KEPT = "The run is stopped; the same command goes on from there."
EVALUATED = "The evaluation is stopped; its payments are in runs/evaluate-"
FINISHING = ["Stopping after the features that come in next.", "the same command goes on from there."]
CASES = [
    (TRAIN, "Ctrl-C", FINISHING),
    (TRAIN, "Ctrl-C twice", ["Press Ctrl-C again to stop now.", ENDING, KEPT]),
    (TRAIN, "closed", []),  # nobody reads it
    (EVALUATE, "Ctrl-C", [ENDING, EVALUATED]),
    (EVALUATE, "SIGTERM", [ENDING, EVALUATED]),
]
if os.environ.get("NIMA_GOLEM_EVERY_FAILURE"):
    CASES += [
        (TRAIN, "SIGTERM", [ENDING, KEPT]),
        (EVALUATE, "closed", []),
        (RESUME, "Ctrl-C", FINISHING),
        (RESUME, "SIGTERM", [ENDING, KEPT]),
        (RESUME, "closed", []),
    ]


@pytest.mark.parametrize(("command", "way", "said"), CASES)
def test_a_command_that_hires_ends_its_agreements_and_blames_nobody(
    command: list[str], way: str, said: list[str], tmp_path: Path, devnet: Devnet
) -> None:
    make_ava_folder(tmp_path / "ava")
    checkpoint.save(tmp_path / "m.safetensors", initial_model("mobilenet_v3_small", None, seed=1), {})
    if command == RESUME:
        with PseudoTerminal.running(TRAIN, tmp_path, devnet.environment()) as terminal:
            wait_for_tasks(tmp_path, terminal)
            terminal.process.terminate()
            assert terminal.exit_code() == 130, terminal.shown
    before = promises(tmp_path)
    with PseudoTerminal.running(command, tmp_path, devnet.environment()) as terminal:
        folder = wait_for_tasks(tmp_path, terminal, before)
        time.sleep(0.5)  # files are being fetched
        if way == "closed":
            terminal.close()
        elif way == "SIGTERM":
            terminal.process.terminate()
        else:
            terminal.press_ctrl_c()
            if way == "Ctrl-C twice":
                terminal.wait_for("Press Ctrl-C again")
                terminal.press_ctrl_c()
        assert terminal.exit_code() == 130, terminal.shown
        shown = " ".join(terminal.shown.split())
    assert "Traceback" not in shown
    assert [text for text in said if text not in shown] == [], shown
    ledger = Ledger(folder / "ledger.jsonl")
    blamed = [entry for entry in ledger.entries() if entry["event"] == "task" and not entry["ok"]]
    assert blamed == [], (folder / "log.txt").read_text()[-4000:]
    assert ledger.open_agreements() == []
    assert open_allocations(devnet) == []


def promises(folder: Path) -> int:
    """Counts the tasks that commands in `folder` have given to providers."""
    return sum(ledger.read_text().count('"promise"') for ledger in folder.glob("runs/*/ledger.jsonl"))


def wait_for_tasks(folder: Path, terminal: PseudoTerminal, before: int = 0) -> Path:
    """Waits until a command in `folder` gives more than `before` tasks to providers; returns the folder of its run."""
    deadline = time.monotonic() + 150
    while promises(folder) <= before:
        assert terminal.process.poll() is None, terminal.shown
        assert time.monotonic() < deadline, terminal.shown
        time.sleep(0.05)
    return next(folder.glob("runs/*/ledger.jsonl")).parent
