"""Every block of commands in the README runs as it stands, one after another, in a folder as the demo leaves it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ava_folder import make_ava_folder
from shell_environment import environment

from nima.ava.splits import read_image_ids
from nima.model import checkpoint
from nima.model.network import initial_model
from nima.scoring.scorer import DEFAULT_MODEL
from nima.weights.fetching import WeightsError, fetch_weights
from requestor.evaluation.prediction import predict_here
from requestor.training.run.results import write_predictions

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = [
    block for block in re.findall(r"(?:^    .*\n)+", README, re.MULTILINE) if re.match(r"    (nima-golem|\./)", block)
]
NEEDS = {"devnet settle": "chain_programs", "score photo.jpg\n": "default_weights"}

pytestmark = [pytest.mark.golem, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("readme")
    ava = make_ava_folder(folder / "demo" / "tiny-ava")
    (folder / "demo" / "run").mkdir()
    model = folder / "demo" / "run" / "model.safetensors"
    checkpoint.save(model, initial_model("mobilenet_v3_small", None, seed=1), {})
    table = predict_here(model, ava, read_image_ids(ava / "splits" / "test.txt"), lambda done, total: None)
    write_predictions(folder / "demo" / "run" / "predictions.csv", table.image_ids, table.probabilities)
    shutil.copy(ava / "images" / "1000.jpg", folder / "photo.jpg")
    shutil.copytree(ava / "images", folder / "holiday")
    program = ROOT / "docs" / "examples" / "hello_golem.py"
    (folder / "my_requestor.py").write_text(
        f"import runpy, sys\nsys.argv[1:] = ['photo.jpg', '.']\nrunpy.run_path({str(program)!r}, run_name='__main__')\n"
    )
    yield folder
    subprocess.run(
        [sys.executable, "-m", "requestor.commands.main", "devnet", "down"], env=environment(folder), check=False
    )


@pytest.fixture(scope="module")
def default_weights() -> None:
    """Skips a test that needs the default weights if they are not here and cannot be fetched."""
    try:
        fetch_weights(DEFAULT_MODEL)
    except WeightsError as error:
        pytest.skip(str(error))


def test_the_two_commands_at_the_top_are_the_scripts_that_other_tests_and_ci_run() -> None:
    first = [line.split()[0] for line in BLOCKS[0].splitlines()]
    assert first == ["./scripts/demo", "./scripts/test"]
    assert all(os.access(ROOT / script, os.X_OK) for script in first)
    assert "./scripts/test" in (ROOT / ".ci" / "run").read_text()


@pytest.mark.parametrize("block", BLOCKS[1:], ids=lambda block: block.split()[1] + " " + block.split()[2])
def test_the_commands_of_a_section_run(block: str, folder: Path, request: pytest.FixtureRequest) -> None:
    for command, fixture in NEEDS.items():
        if command in block:
            request.getfixturevalue(fixture)
    script = "set -eu\n" + block
    done = subprocess.run(
        ["bash", "-c", script], cwd=folder, env=environment(folder), capture_output=True, text=True, timeout=350
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout
