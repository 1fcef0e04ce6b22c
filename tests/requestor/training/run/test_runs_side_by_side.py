"""Two runs and an evaluation on one daemon at once, with the same photos: none disturbs another."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest
from allocations import NOTHING, left_open
from ava_folder import make_ava_folder

from nima.model import checkpoint
from nima.model.network import initial_model
from requestor.devnet.state import Devnet
from requestor.records.ledger import Ledger

pytestmark = pytest.mark.golem

TRAIN = ("train", "--ava", "ava", "--budget", "1GLM", "--strategy", "embed", "--workers", "1", "--json", "--run-dir")
EVALUATE = ("evaluate", "--model", "m.safetensors", "--ava", "ava", "--backend", "golem", "--budget", "1GLM")


async def run(folder: Path, devnet: Devnet, *arguments: str) -> str:
    """Runs a command to its end; returns what it wrote to stderr."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "requestor.commands.main", *arguments),
        cwd=folder,
        env=os.environ | devnet.environment(),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, stderr = await asyncio.wait_for(process.communicate(), 240)
    assert process.returncode == 0, stderr.decode()
    return stderr.decode()


async def side_by_side(folder: Path, devnet: Devnet) -> None:
    await asyncio.gather(
        run(folder, devnet, *TRAIN, "runs/one"), run(folder, devnet, *TRAIN, "runs/two"), run(folder, devnet, *EVALUATE)
    )
    assert await left_open(devnet) == NOTHING


def test_runs_share_a_daemon_and_its_files(tmp_path: Path, devnet: Devnet) -> None:
    make_ava_folder(tmp_path / "ava")
    checkpoint.save(tmp_path / "m.safetensors", initial_model("mobilenet_v2", None, seed=1), {})
    asyncio.run(side_by_side(tmp_path, devnet))
    ledgers = [Ledger(path) for path in sorted(tmp_path.glob("runs/*/ledger.jsonl"))]
    assert len(ledgers) == 3
    for ledger in ledgers:
        tasks = [entry for entry in ledger.entries() if entry["event"] == "task"]
        assert tasks
        assert [entry for entry in tasks if not entry["ok"]] == []
        assert ledger.open_agreements() == []
        log = (ledger.path.parent / "log.txt").read_text()
        assert "given back" not in log
        assert "cannot be served" not in log
