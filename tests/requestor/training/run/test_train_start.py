"""`nima-golem train --start`: a run goes on from a NIMA that was trained before."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from ava_folder import make_ava_folder
from run_commands import nima_golem

from nima.model import checkpoint, initial_model
from nima.training import predict
from nima.wire import read_shard


@pytest.fixture(scope="module")
def ava(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_ava_folder(tmp_path_factory.mktemp("data") / "ava", images=28, tested=6)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with a head that prefers some photos, and another preparation than its backbone's own."""
    model = initial_model("mobilenet_v3_small", None, 3)
    with torch.no_grad():
        model.head.weight.mul_(30)
    path = tmp_path_factory.mktemp("models") / "earlier.safetensors"
    checkpoint.save(path, model, {"name": "an earlier model", "licence": "MIT"})
    return path


def train(ava: Path, *more: str) -> tuple[int, str, str]:
    options = (
        "--budget",
        "2GLM",
        "--backend",
        "local",
        "--workers",
        "1",
        "--strategy",
        "embed",
        "--audit",
        "0",
        "--json",
    )
    done = nima_golem("train", "--ava", str(ava), *options, *more)
    return done.returncode, done.stdout, done.stderr


def test_a_run_begins_with_the_predictions_of_its_start_and_says_where_it_began(
    ava: Path, start: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    code, stdout, stderr = train(ava, "--start", str(start), "--run-dir", str(run))
    assert code in (0, 3), stderr  # random features may well be worse than a constant
    _, metadata = checkpoint.load(run / "model.safetensors")
    assert (metadata["starting_weights"], metadata["licence"]) == ("an earlier model", "MIT")
    assert metadata["starting_weights_source"] == "earlier.safetensors"
    before, _ = checkpoint.load(start)
    base, _ = checkpoint.load(run / "store" / f"{json.loads((run / 'base.json').read_text())['sha256']}.safetensors")
    photos = read_shard(next((run / "holdout").iterdir())).jpegs
    assert predict(base, photos) == pytest.approx(predict(before, photos), abs=1e-4)
    assert json.loads(stdout.splitlines()[-1])["metrics"]["n"] == 6


def test_another_start_is_another_run(ava: Path, start: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    other.write_bytes(start.read_bytes())
    run = tmp_path / "run"
    run.mkdir()
    identity = {"ava": str(ava), "backbone": "mobilenet_v3_small", "seed": 0, "start": str(start)}
    (run / "run.json").write_text(json.dumps(identity))
    code, _, stderr = train(ava, "--start", str(other), "--run-dir", str(run))
    assert code == 1
    assert "another run" in stderr or "start" in stderr


def test_a_start_has_its_own_backbone(ava: Path, start: Path) -> None:
    code, _, stderr = train(ava, "--start", str(start), "--backbone", "mobilenet_v2")
    assert code == 2
    assert "has the backbone mobilenet_v3_small: leave --backbone mobilenet_v2 out" in stderr


def test_a_start_that_is_no_nima_is_an_error(ava: Path, tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(b"no model")
    for name in (str(tmp_path / "a.safetensors"), "no-such-model"):
        code, _, stderr = train(ava, "--start", name)
        assert code == 1
        assert name in stderr
