"""Signals to the whole process group of a command that hires: it ends cleanly, and no provider is blamed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from allocations import open_allocations
from ava_folder import make_ava_folder

from nima.model import checkpoint
from nima.model.network import initial_model
from requestor.devnet.state import Devnet
from requestor.records.ledger import Ledger

pytestmark = pytest.mark.golem

TRAIN = ["train", "--ava", "ava", "--budget", "2GLM", "--strategy", "embed", "--run-dir", "runs/it"]
EVALUATE = ["evaluate", "--model", "m.safetensors", "--ava", "ava", "--backend", "golem", "--budget", "1GLM"]


@pytest.mark.parametrize(
    ("command", "number"), [(TRAIN, signal.SIGINT), (TRAIN, signal.SIGHUP), (EVALUATE, signal.SIGTERM)]
)
def test_a_signal_to_the_group_ends_agreements_and_blames_nobody(
    command: list[str], number: signal.Signals, tmp_path: Path, devnet: Devnet
) -> None:
    make_ava_folder(tmp_path / "ava")
    checkpoint.save(tmp_path / "m.safetensors", initial_model("mobilenet_v3_small", None, seed=1), {})
    process = subprocess.Popen(
        [sys.executable, "-m", "requestor.commands.main", *command],
        cwd=tmp_path,
        env=os.environ | devnet.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 150
    while not (begun := [path for path in tmp_path.glob("runs/*/ledger.jsonl") if '"promise"' in path.read_text()]):
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.5)  # files are being fetched
    os.killpg(process.pid, number)
    _, stderr = process.communicate(timeout=150)
    assert process.returncode == 130, stderr
    assert "Traceback" not in stderr
    ledger = Ledger(begun[0])
    blamed = [entry for entry in ledger.entries() if entry["event"] == "task" and not entry["ok"]]
    assert blamed == [], (begun[0].parent / "log.txt").read_text()[-4000:]
    assert ledger.open_agreements() == []
    assert open_allocations(devnet) == []
