"""Checkpoints: models are read as they were written, files are named by content, and broken ones are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from nima.model import checkpoint
from nima.model.checkpoint import CheckpointError
from nima.model.network import Nima, initial_model

Tensors = dict[str, torch.Tensor]
METADATA = {"rounds": 3, "metrics": {"srcc": 0.87}, "splits": "abc", "name": "Größe"}


@pytest.fixture(scope="module")
def model() -> Nima:
    return initial_model("mobilenet_v3_small", None, seed=3, multi_level=True)


@pytest.fixture
def saved(model: Nima, tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    checkpoint.save(path, model, METADATA)
    return path


def test_a_model_comes_back_with_its_metadata(model: Nima, saved: Path) -> None:
    loaded, metadata = checkpoint.load(saved)
    assert metadata == METADATA == checkpoint.read_metadata(saved)
    assert (loaded.backbone, loaded.multi_level, loaded.training) == ("mobilenet_v3_small", True, False)
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(loaded(images), model.eval()(images))


def test_equal_models_are_equal_bytes(model: Nima, saved: Path, tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "again", checkpoint.load(saved)[0], dict(reversed(METADATA.items())))
    assert (tmp_path / "again").read_bytes() == saved.read_bytes()


def test_an_older_file_stays_where_writing_fails(model: Nima, saved: Path) -> None:
    before = saved.read_bytes()
    with pytest.raises(ValueError, match="Out of range float"):
        checkpoint.save(saved, model, {"loss": float("nan")})
    assert saved.read_bytes() == before
    with pytest.raises(CheckpointError, match="could not be written"):
        checkpoint.save(saved / "below a file", model, {})
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda t: {n: v for n, v in t.items() if n != "head.bias"}, "'head.bias' is missing"),
        (lambda t: {**t, "extra": torch.zeros(1)}, "'extra' is unknown"),
        (lambda t: {**t, "head.bias": torch.zeros(9)}, "'head.bias' has another shape or type"),
        (lambda t: {**t, "head.bias": t["head.bias"].half()}, "'head.bias' has another shape or type"),
        (lambda t: {**t, "head.bias": t["head.bias"] / 0}, "'head.bias' has values that are not finite"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(saved: Path, change: Callable[[Tensors], Tensors], reason: str) -> None:
    with safe_open(saved, framework="pt") as file:
        metadata = file.metadata()
    save_file(change(load_file(saved)), saved, metadata)
    with pytest.raises(CheckpointError, match=f"is broken: tensor {reason}"):
        checkpoint.load(saved)


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (None, "not a model of this program"),
        ({"other": "{}"}, "not a model of this program"),
        ({"nima": "{"}, "is broken"),
        ({"nima": "[]"}, "is broken"),
        ({"nima": json.dumps({"format": 1, "backbone": 7, "multi_level": False, "metadata": {}})}, "is broken"),
        ({"nima": json.dumps({"format": 2, "backbone": "x", "multi_level": False, "metadata": {}})}, "has format 2"),
        ({"nima": json.dumps({"format": 1, "backbone": "x", "multi_level": False, "metadata": {}})}, "later version"),
    ],
)
def test_headers_that_say_something_else_are_refused(saved: Path, header: dict[str, str] | None, reason: str) -> None:
    save_file(load_file(saved), saved, header)
    with pytest.raises(CheckpointError, match=reason):
        checkpoint.load(saved)


@pytest.mark.parametrize("content", [None, b"", b"\x80\x04 pickle", b"\xff" * 100])
def test_files_that_are_something_else_are_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "model.safetensors"
    if content is not None:
        path.write_bytes(content)
    for read in (checkpoint.load, checkpoint.read_metadata):
        with pytest.raises(CheckpointError, match=r"model\.safetensors could not be read as a model"):
            read(path)


def test_a_cut_off_file_is_refused(saved: Path) -> None:
    content = saved.read_bytes()
    saved.write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match="could not be read as a model"):
        checkpoint.load(saved)


@pytest.mark.timeout(60)
def test_loading_does_not_wait_for_what_lies_in_memory_to_be_a_truncated_normal() -> None:
    garbage = torch.full((8,), 99.0, requires_grad=True)
    with checkpoint._Uninitialised():
        nn.init.trunc_normal_(garbage, std=0.02)
