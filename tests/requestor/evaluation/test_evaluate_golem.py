"""`nima-golem evaluate --model M --backend golem`: providers predict, and the figures equal the local ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ava_folder import make_ava_folder

from nima.model import checkpoint
from nima.model.network import initial_model
from requestor.devnet.state import Devnet

pytestmark = pytest.mark.golem


def test_the_figures_are_identical_here_and_on_providers(tmp_path: Path, devnet: Devnet) -> None:
    ava = make_ava_folder(tmp_path / "ava")
    checkpoint.save(tmp_path / "model.safetensors", initial_model("mobilenet_v3_small", None, seed=1), {})

    def evaluate(*arguments: str) -> dict:
        command = [
            sys.executable,
            "-m",
            "requestor.commands.main",
            "evaluate",
            "--model",
            "model.safetensors",
            "--ava",
            str(ava),
        ]
        done = subprocess.run(
            [*command, "--json", *arguments],
            cwd=tmp_path,
            env=os.environ | devnet.environment() | {"OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=200,
        )
        assert done.returncode == 0, done.stderr
        figures: dict = json.loads(done.stdout)
        return figures

    here, there = evaluate(), evaluate("--backend", "golem", "--budget", "1GLM")
    assert here["n"] == 10
    assert here == there
    (folder,) = (tmp_path / "runs").iterdir()
    assert '"event": "invoice"' in (folder / "ledger.jsonl").read_text()


def test_a_budget_is_asked_for(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "requestor.commands.main",
        "evaluate",
        "--model",
        "m",
        "--ava",
        ".",
        "--backend",
        "golem",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "--budget 0.1GLM" in done.stderr


def test_real_money_is_not_spent_without_a_yes(tmp_path: Path) -> None:
    ava = make_ava_folder(tmp_path / "ava")
    checkpoint.save(tmp_path / "model.safetensors", initial_model("squeezenet1_1", None, seed=1), {})
    command = ["evaluate", "--model", "model.safetensors", "--ava", str(ava), "--backend", "golem", "--budget", "1GLM"]
    polygon = {"YAGNA_APPKEY": "key", "YAGNA_API_URL": "http://127.0.0.1:9", "YAGNA_PAYMENT_NETWORK": "polygon"}
    done = subprocess.run(
        [sys.executable, "-m", "requestor.commands.main", *command],
        cwd=tmp_path,
        env=os.environ | polygon,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "up to 1 GLM of real money on polygon" in done.stderr
    assert not (tmp_path / "runs").exists()
