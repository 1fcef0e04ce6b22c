"""Programs on a devnet whose tasks run in an image, with real daemons and real payments."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ava_folder import make_ava_folder
from image_labels import labels_of_this_version
from tiny_image import CONFIG, make_image

from nima.model import checkpoint
from nima.model.network import initial_model
from nima.wire.jobs import EXIT_VERSION_MISMATCH
from requestor.devnet.network import NetworkOptions
from requestor.devnet.state import Devnet
from requestor.devnet.supervision import start_devnet, stop_devnet
from requestor.image.labels import DEFAULT_PYTHON

pytestmark = pytest.mark.golem

HELLO = Path(__file__).parents[3] / "docs" / "examples" / "hello_golem.py"
REFUSAL = "The job is of nima-golem 2.0 (protocol 9); this program is nima-golem 1.0 (protocol 8)."
# A provider program of another version, as a requestor sees it.
OTHER_VERSION = f'#!/bin/sh\necho "$(pwd)" > /golem/jobs/ran\necho "{REFUSAL}" >&2\nexit {EXIT_VERSION_MISMATCH}\n'


@pytest.fixture(scope="module")
def imaged(devnets_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Devnet]:
    """Runs a devnet of two providers whose image has a provider program of another version than its labels say."""
    config = {**CONFIG, "Volumes": {path: {} for path in ("/golem/work", "/golem/store", "/golem/jobs")}}
    config |= {"Labels": labels_of_this_version(), "WorkingDir": "/"}
    image = make_image(tmp_path_factory.mktemp("image"), config, {DEFAULT_PYTHON: OTHER_VERSION})
    running = start_devnet(NetworkOptions("imaged", providers=2, image=str(image.path)))
    yield running
    stop_devnet(running)


def run(devnet: Devnet, folder: Path, *argv: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | devnet.environment() | variables
    return subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


def test_a_yapapi_program_runs_unchanged_in_the_image(imaged: Devnet, tmp_path: Path) -> None:
    source = tmp_path / "data"
    source.write_bytes(os.urandom(100_001))
    done = run(imaged, tmp_path, sys.executable, str(HELLO), str(source), str(tmp_path))
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["outputs"] == [f"{hashlib.sha256(source.read_bytes()).hexdigest()}  data\n100001\n"] * 3
    assert (tmp_path / "twice-0").read_bytes() == 2 * source.read_bytes()
    assert report["accepted"]
    logs = "\n".join(path.read_text() for path in imaged.logs.glob("*.agent.log"))
    assert "Traceback" not in logs


def evaluate(devnet: Devnet, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    ava = make_ava_folder(folder / "ava")
    checkpoint.save(folder / "model.safetensors", initial_model("mobilenet_v3_small", None, seed=1), {})
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
    return run(devnet, folder, *command, "--backend", "golem", "--budget", "1GLM", **variables)


def test_providers_of_another_version_end_the_run_at_once_with_one_error(imaged: Devnet, tmp_path: Path) -> None:
    done = evaluate(imaged, tmp_path, NIMA_GOLEM_IMAGE_FILE="")
    assert done.returncode == 1
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("Error:")]
    assert error.startswith("Error: The provider image does not fit this program, by the word of ")
    assert REFUSAL in error
    assert "Traceback" not in done.stderr
    (folder,) = (tmp_path / "runs").iterdir()
    events = [json.loads(line) for line in (folder / "ledger.jsonl").read_text().splitlines()]
    assert 1 <= sum(event["event"] == "agreement" for event in events) <= 2, "nobody is hired again"


def test_an_image_of_another_version_hires_nobody(imaged: Devnet, tmp_path: Path) -> None:
    other = make_image(tmp_path, {**CONFIG, "Labels": {**labels_of_this_version(), "nima-golem.version": "0.0.1"}})
    package = f"hash:sha3:{other.sha3_224}:http://127.0.0.1:1/tiny.gvmi"
    done = evaluate(imaged, tmp_path, NIMA_GOLEM_IMAGE=package, NIMA_GOLEM_IMAGE_FILE=str(other.path))
    assert done.returncode == 1
    assert "tiny.gvmi holds nima-golem 0.0.1 (protocol " in done.stderr
    assert not (tmp_path / "runs").exists()
