"""`nima-golem export`: its files compute what this program computes, in other programs, too."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from click.testing import CliRunner, Result
from drawn_photos import picture
from numpy.typing import NDArray
from PIL import Image
from spread_model import save_spread_model

from nima.model import checkpoint
from nima.scoring.score import Score
from nima.scoring.scorer import Scorer
from requestor.commands.main import main


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Makes an untrained model that gives photos different scores; it takes whole photos, and has a name that is a
    path.
    """
    path = tmp_path_factory.mktemp("model") / "spread.safetensors"
    save_spread_model(path)
    network, _ = checkpoint.load(path)
    network.preparation = network.preparation.with_part("whole")
    checkpoint.save(path, network, {"name": "../odd name"})
    return path


@pytest.fixture(scope="module")
def photos() -> list[Image.Image]:
    return [picture(seed, 300 + seed, 200) for seed in range(3)]


@pytest.fixture(scope="module")
def scores(model: Path, photos: list[Image.Image]) -> list[Score]:
    return list(Scorer(model).score(photos))


def as_documented(photos: list[Image.Image]) -> NDArray[np.uint8]:
    return np.stack([np.asarray(photo.resize((224, 224), Image.Resampling.NEAREST)) for photo in photos])


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["export", *map(str, arguments)])


def test_onnx_runtime_gets_the_scores_in_batches_of_any_size(
    model: Path, photos: list[Image.Image], scores: list[Score], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(model, "--json")
    assert result.exit_code == 0, result.output
    about = json.loads(result.stdout)
    assert about["path"] == "_odd_name.onnx"  # in this folder
    assert about["difference"] <= 1e-4

    session = onnxruntime.InferenceSession("_odd_name.onnx", providers=["CPUExecutionProvider"])
    assert [(one.name, one.type, one.shape[1:]) for one in session.get_inputs()] == [
        ("photos", "tensor(uint8)", [224, 224, 3])
    ]
    in_file = session.get_modelmeta().custom_metadata_map
    assert in_file == {key: about[key] for key in in_file}
    assert "squeezed to 224 x 224 (nearest)" in in_file["preparation"]
    pixels = as_documented(photos)
    for batch in (pixels, pixels[:1]):
        probabilities, means = session.run(["probabilities", "score"], {"photos": batch})
        expected = scores[: len(batch)]
        assert probabilities == pytest.approx(np.array([one.probabilities for one in expected]), abs=1e-4)
        assert means == pytest.approx([one.aesthetic_score for one in expected], abs=1e-3)
    assert len({round(one.aesthetic_score or 0, 3) for one in scores}) == 3  # or agreement would mean nothing


def test_torchscript_gives_the_scores_and_carries_its_contract(
    model: Path, photos: list[Image.Image], scores: list[Score], tmp_path: Path
) -> None:
    file = tmp_path / "model.pt"
    assert run(model, "--format", "torchscript", "--output", file).exit_code == 0
    metadata = {"metadata.json": ""}
    graph = torch.jit.load(file, _extra_files=metadata)
    assert "uint8 [batch, 224, 224, 3]" in json.loads(metadata["metadata.json"])["input"]
    probabilities, _ = graph(torch.from_numpy(as_documented(photos)))
    assert probabilities.numpy() == pytest.approx(np.array([one.probabilities for one in scores]), abs=1e-4)


def test_a_graph_that_gives_no_probabilities_is_not_written(model: Path, tmp_path: Path) -> None:
    network, metadata = checkpoint.load(model)
    with torch.no_grad():
        network.head.weight.fill_(3e38)  # finite, but all results of it are infinite
    checkpoint.save(tmp_path / "broken.safetensors", network, metadata)
    result = run(tmp_path / "broken.safetensors", "--format", "torchscript", "--output", tmp_path / "broken.pt")
    assert result.exit_code == 1
    assert "nothing was written" in result.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"broken.safetensors"}


def test_a_file_that_is_there_stays(model: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.onnx"
    file.write_bytes(b"mine")
    result = run(model, "--output", file)
    assert result.exit_code == 2
    assert "--overwrite" in result.stderr
    assert file.read_bytes() == b"mine"


def test_a_package_that_is_missing_is_named(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    result = run(model, "--output", tmp_path / "model.onnx")
    assert result.exit_code == 1
    assert "pip install onnx" in result.stderr
