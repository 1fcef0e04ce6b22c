"""The self-test of images: its numbers can be wrong, and small faults of an image's libraries are found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from nima.model import preparation
from nima.model.network import Nima
from nima.wire.jobs import JOB_FILE, PROTOCOL, RESULT_FILE, UPDATE_FILE, JobKind, JobResult
from nima.wire.updates import encode_update
from provider_image.__main__ import main
from requestor.errors import ImageError
from requestor.image_build.self_test import TOLERANCES, SelfTest, check_difference
from requestor.image_build.verify import KINDS_OF_JOBS

COMPARED = [kind for kind in KINDS_OF_JOBS if kind != "benchmark"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def test(store: Path) -> SelfTest:
    return SelfTest.prepare(store)


def run(test: SelfTest, store: Path, folder: Path, kind: JobKind) -> JobResult:
    """Does a job as the program of an image does it."""
    folder.mkdir()
    (folder / JOB_FILE).write_text(test.job(kind, kind, str(store)).to_json())
    assert main([str(folder / JOB_FILE)]) == 0
    return JobResult.from_json((folder / RESULT_FILE).read_text())


# --- the numbers can be wrong


def test_features_differ_by_photo_and_by_channel(test: SelfTest) -> None:
    features = test.features.astype(np.float64)
    assert features.shape == (8, 576)
    assert features.std(axis=0).min() > 0.9  # of each channel, over photos
    assert features.std(axis=1).min() > 0.5  # of each photo, over channels
    assert abs(features).max() > 1


def test_predictions_and_votes_differ_by_photo(test: SelfTest) -> None:
    assert test.probabilities.std(axis=0).min() > 0.02
    means = test.votes @ np.arange(1, 11) / test.votes.sum(axis=1)
    assert np.diff(np.sort(means)).min() > 0.5


def test_the_training_moves_every_tensor(test: SelfTest) -> None:
    weights = dict(test.model.named_parameters())
    assert set(test.update) == set(weights)
    ways = {name: float(values.norm() / weights[name].detach().norm()) for name, values in test.update.items()}
    assert min(ways.values()) > 1e-4
    assert ways["head.weight"] > 1e-3


# --- the program's own numbers pass, and wrong ones do not


@pytest.mark.parametrize("kind", COMPARED)
def test_a_program_that_is_right_passes(test: SelfTest, store: Path, tmp_path: Path, kind: JobKind) -> None:
    difference = test.compare(tmp_path / kind, run(test, store, tmp_path / kind, kind))
    assert difference is not None
    assert difference <= TOLERANCES[kind] / 10


def change_convolution(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Lets one convolution of every network give 1% more."""
    made = Nima.__init__

    def make(model: Nima, *arguments: Any, **more: Any) -> None:
        made(model, *arguments, **more)
        layers = [layer for layer in model.modules() if isinstance(layer, torch.nn.Conv2d)]
        layers[number].register_forward_hook(lambda layer, inputs, output: 1.01 * output)

    monkeypatch.setattr(Nima, "__init__", make)


def change_resampling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets photos be moved by a tenth of a pixel when they are decoded."""
    decode = preparation.decode_image

    def moved(stored: bytes) -> NDArray[np.uint8]:
        image = Image.fromarray(decode(stored))
        width, height = image.size
        return np.asarray(image.resize(image.size, Image.Resampling.BILINEAR, box=(0.1, 0, width, height)))

    monkeypatch.setattr(preparation, "decode_image", moved)


def change_batch_norm(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Lets one BatchNorm of every network have PyTorch's usual epsilon instead of the backbone's."""
    made = Nima.__init__

    def make(model: Nima, *arguments: Any, **more: Any) -> None:
        made(model, *arguments, **more)
        norms = [layer for layer in model.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
        assert norms[number].eps == 1e-3
        norms[number].eps = 1e-5

    monkeypatch.setattr(Nima, "__init__", make)


FAULTS = {
    "the first convolution": lambda patch: change_convolution(patch, 0),
    "a convolution of a squeeze-and-excitation": lambda patch: change_convolution(patch, 2),
    "the last convolution": lambda patch: change_convolution(patch, -1),
    "resampling": change_resampling,
    "the first BatchNorm": lambda patch: change_batch_norm(patch, 0),
    "the last BatchNorm": lambda patch: change_batch_norm(patch, -1),
}


@pytest.mark.parametrize(
    ("fault", "kind"),
    [*((fault, kind) for fault in FAULTS for kind in ("embed", "evaluate")), ("the last convolution", "train")],
)
def test_a_small_fault_of_a_library_is_found(
    test: SelfTest, store: Path, tmp_path: Path, fault: str, kind: JobKind
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        FAULTS[fault](patch)
        result = run(test, store, tmp_path / kind, kind)
    with pytest.raises(ImageError, match=f"results of the job `{kind}` differ by"):
        test.compare(tmp_path / kind, result)


def test_an_update_that_changes_nothing_is_found(test: SelfTest, tmp_path: Path) -> None:
    weights = {name: parameter.detach() for name, parameter in test.model.named_parameters()}
    encode_update(tmp_path / UPDATE_FILE, weights, weights, seed=0)
    result = JobResult(PROTOCOL, "train", "train", True, None, output=UPDATE_FILE, output_sha256="0" * 64)
    with pytest.raises(ImageError, match="differ by 1"):
        test.compare(tmp_path, result)


@pytest.mark.parametrize("difference", [float("nan"), float("inf"), 1.0])
@pytest.mark.parametrize("kind", COMPARED)
def test_a_difference_that_is_no_number_is_too_large(kind: JobKind, difference: float) -> None:
    with pytest.raises(ImageError, match="other values than this machine"):
        check_difference(kind, difference)
