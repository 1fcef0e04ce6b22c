"""A devnet for one program: it hires there, and nothing of the devnet outlives it, however it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ava_folder import make_ava_folder
from devnet_processes import gone

from requestor.devnet.state import devnet_folder, find_devnet

pytestmark = pytest.mark.golem

PROGRAM = """
import os, sys, time
from requestor.devnet import throw_away_devnet
with throw_away_devnet(1):
    print(os.environ["YAGNA_API_URL"], flush=True)
    time.sleep(100)
"""


def started(program: str = PROGRAM) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_it_ends_with_its_program(devnets_home: Path, number: signal.Signals) -> None:
    process = started()
    try:
        name = f"run-{process.pid}"
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        running = find_devnet(name)
        assert running is not None
        assert running.requestor.api_url == url
        unnamed = find_devnet()
        assert unnamed is None or unnamed.name != name, "other programs use it only if it is named"
        process.send_signal(number)
        process.wait(30)
    finally:
        process.kill()
        process.communicate()
    assert gone(name)
    deadline = time.monotonic() + 10
    while devnet_folder(name).exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not devnet_folder(name).exists()


def test_ctrl_c_while_it_starts(devnets_home: Path) -> None:
    process = started(PROGRAM.replace("time.sleep", "print"))
    name = f"run-{process.pid}"
    deadline = time.monotonic() + 30
    while not (devnet_folder(name) / "logs").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert "RunStopped: Stopped while the devnet was starting" in said
    assert gone(name)


def test_a_run_hires_on_its_own_devnet_and_leaves_nothing_of_it(devnets_home: Path, tmp_path: Path) -> None:
    ava = make_ava_folder(tmp_path / "ava")
    command = [sys.executable, "-m", "requestor.commands.main", "train", "--budget", "2GLM", "--ava", str(ava)]
    options = ["--strategy", "embed", "--workers", "2", "--devnet", "--providers", "2", "--json"]
    elsewhere = {"YAGNA_APPKEY": "of another Golem", "YAGNA_API_URL": "http://127.0.0.1:9"}
    process = subprocess.Popen(
        [*command, *options, "--run-dir", str(tmp_path / "run")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | elsewhere,
    )  # fmt: skip
    try:
        stdout, stderr = process.communicate(timeout=280)
    finally:
        process.kill()
    assert process.returncode == 0, stderr
    summary = json.loads(stdout)
    assert {provider["name"] for provider in summary["providers"]} == {"amber-otter", "brave-heron"}
    assert summary["spent_glm"] > 0
    assert gone(f"run-{process.pid}")
    assert not devnet_folder(f"run-{process.pid}").exists()
