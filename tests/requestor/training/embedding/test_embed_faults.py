"""Embedding on a devnet where one of two providers sends other photos' features: it is found, and not hired again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ava_folder import make_ava_folder

from requestor.devnet.network import NetworkOptions
from requestor.devnet.supervision import start_devnet, stop_devnet
from requestor.training.providers.bans import ban_list

pytestmark = pytest.mark.golem


def test_wrong_features_are_not_trained_on_and_their_sender_is_banned(devnets_home: Path, tmp_path: Path) -> None:
    ava, run = make_ava_folder(tmp_path / "ava"), tmp_path / "run"
    devnet = start_devnet(NetworkOptions("wrong-features", providers=2, faults="bad-features"))
    try:
        options = ["--budget", "2GLM", "--workers", "2", "--strategy", "embed", "--run-dir", str(run), "--json"]
        done = subprocess.run(
            [sys.executable, "-m", "requestor.commands.main", "train", "--ava", str(ava), *options],
            env={**os.environ, **devnet.environment()},
            capture_output=True,
            text=True,
            timeout=280,
        )
    finally:
        stop_devnet(devnet)
    assert done.returncode == 0, done.stderr
    (line,) = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    (wrong,) = (entry for entry in line["updates"] if entry["kind"] == "false")
    assert "are not those of the photo" in wrong["verdict"]
    honest = [entry for entry in line["updates"] if entry["provider_id"] != wrong["provider_id"]]
    assert [entry["kind"] for entry in honest] == ["admitted"] * 2
    assert ban_list().read()[wrong["provider_id"]].name == wrong["provider"]
    dataset = json.loads((run / "dataset.json").read_text())
    kept = {path.parent.name for path in (run / "embedding" / "features").glob("*/*")}
    assert kept == {honest[0]["provider_id"]}
    assert len(dataset["clients"]) == 2
    assert json.loads(done.stdout)["metrics"]["srcc"] > 0.5
