"""The scorer: photos in, scores out, in order, the same for every kind of input."""

from __future__ import annotations

import hashlib
import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ava_folder import make_ava_folder
from drawn_photos import picture
from PIL import Image
from spread_model import save_spread_model

from nima.model import checkpoint
from nima.model.network import initial_model
from nima.scoring.runtimes import (
    Runtime,
    RuntimeMissing,
    ScoringError,
    convert_model,
    converted_model_path,
    is_converted,
)
from nima.scoring.score import Score
from nima.scoring.scorer import FeatureScorer, Scorer
from nima.training.loop import predict
from nima.version import VERSION
from nima.weights.fetching import WeightsError

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
KERAS = DATA / "nima" / "weights_mobilenet_aesthetic_0.07.hdf5"
needs_weights = pytest.mark.skipif(not KERAS.exists(), reason="needs idealo's weights")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "random.safetensors"
    save_spread_model(path)
    return path


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return sorted((make_ava_folder(tmp_path_factory.mktemp("ava"), images=10) / "images").iterdir())


def rounded(score: Score) -> Score:
    """Drops the last digits, which depend on the other photos of a batch, and the path."""
    assert score.probabilities is not None
    assert score.aesthetic_score is not None
    assert score.std is not None
    assert score.percentile is not None
    return replace(
        score,
        path="",
        aesthetic_score=round(score.aesthetic_score, 3),
        std=round(score.std, 3),
        probabilities=tuple(round(p, 3) for p in score.probabilities),
        percentile=round(score.percentile, 1),
    )


def test_a_score_is_made_of_its_probabilities(model: Path, photos: list[Path]) -> None:
    score = next(Scorer(model, device="cpu").score(photos))
    p = np.array(score.probabilities)
    ratings = np.arange(1, 11)
    assert p.shape == (10,)
    assert p.sum() == pytest.approx(1)
    assert score.aesthetic_score == pytest.approx(p @ ratings)
    assert score.std == pytest.approx(np.sqrt(p @ (ratings - p @ ratings) ** 2))
    assert (score.width, score.height, score.error) == (320, 240, None)
    assert score.path == str(photos[0])
    assert score.model.startswith("random@")


def test_scores_come_in_order_with_errors_in_their_places(model: Path, photos: list[Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(photos[0].read_bytes()[:500])
    mixed = [*photos[:4], broken, *photos[4:7], tmp_path / "missing.jpg", *photos[7:]]
    scores = list(Scorer(model, device="cpu", batch_size=3, threads=4).score(mixed))
    assert [score.path for score in scores] == [str(path) for path in mixed]
    failed = [score for score in scores if score.error is not None]
    assert [score.path for score in failed] == [str(broken), str(tmp_path / "missing.jpg")]
    assert {(score.aesthetic_score, score.probabilities, score.width) for score in failed} == {(None, None, None)}


@pytest.mark.parametrize("batch_size", [1, 3, 10, 64])
def test_the_batch_size_changes_nothing_but_rounding(batch_size: int, model: Path, photos: list[Path]) -> None:
    alone = [rounded(score) for score in Scorer(model, device="cpu", batch_size=5).score(photos)]
    assert [rounded(score) for score in Scorer(model, device="cpu", batch_size=batch_size).score(photos)] == alone
    assert len({score.aesthetic_score for score in alone}) > 5


def test_one_photo_of_any_kind_has_one_score(model: Path, photos: list[Path]) -> None:
    path = photos[0]
    content, image = path.read_bytes(), Image.open(path).convert("RGB")
    scorer = Scorer(model, device="cpu")
    expected = rounded(next(scorer.score([path])))

    class Entry(os.PathLike[str]):
        def __fspath__(self) -> str:
            return str(path)

    with path.open("rb") as file:
        kinds = [path, str(path), Entry(), content, bytearray(content), memoryview(content), io.BytesIO(content), file]
        for photo in [*kinds, image, np.asarray(image)]:
            (score,) = scorer.score(photo)
            assert rounded(score) == expected
            assert score.path == (str(path) if isinstance(photo, (str, os.PathLike)) else "")
        assert [rounded(score) for score in scorer.score([file, file])] == [expected] * 2


@pytest.mark.parametrize(
    ("photos", "reason"),
    [
        (None, "not a value of type NoneType"),
        (7, "not a value of type int"),
        ([7], "not a value of type int"),
        ([["a.jpg"]], "not a value of type list"),
        (np.zeros((4, 4, 3)), "not float64 of shape [4, 4, 3]"),
        (np.zeros((4, 4), np.uint8), "not uint8 of shape [4, 4]"),
        ([np.zeros((2, 4, 4, 3), np.uint8)], "not uint8 of shape [2, 4, 4, 3]"),
        (io.StringIO("text"), 'must be opened with "rb"'),
    ],
    ids=["nothing", "number", "list of numbers", "list of lists", "floats", "grey", "batch", "text file"],
)
def test_what_is_no_photo_is_a_type_error(model: Path, photos: Any, reason: str) -> None:
    with pytest.raises(TypeError, match=re.escape(reason)):
        list(Scorer(model, device="cpu").score(photos))


def test_a_closed_file_is_an_error_of_its_photo(model: Path, photos: list[Path]) -> None:
    file = io.BytesIO(photos[0].read_bytes())
    file.close()
    failed, good = Scorer(model, device="cpu").score([file, photos[0]])
    assert "cannot be read" in str(failed.error)
    assert good.error is None


def test_a_model_is_taken_by_path_and_by_name(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Scorer(str(model), device="cpu").model == Scorer(model, device="cpu").model
    asked = []
    monkeypatch.setattr("nima.weights.fetching.fetch_weights", lambda name, progress: asked.append(name) or model)
    assert Scorer("mobilenet_v1-ava", device="cpu").model == Scorer(model, device="cpu").model
    assert asked == ["mobilenet_v1-ava"]
    with pytest.raises(WeightsError, match="There is no model 'none'"):
        Scorer("none")


def test_path_bytes_and_pixels_of_a_photo_score_the_same(model: Path, photos: list[Path]) -> None:
    path = photos[0]
    sources = [path, str(path), path.read_bytes(), Image.open(path), Image.open(path).convert("RGBA")]
    scores = list(Scorer(model, device="cpu").score(sources))
    assert len({rounded(score) for score in scores}) == 1
    assert [score.path for score in scores] == [str(path), str(path), "", "", ""]


def test_photos_are_read_no_further_ahead_than_two_batches(model: Path, photos: list[Path]) -> None:
    taken = 0

    def counted() -> Iterator[Path]:
        nonlocal taken
        for path in photos:
            taken += 1
            yield path

    scores = Scorer(model, device="cpu", batch_size=2).score(counted())
    next(scores)
    assert taken == 4
    scores.close()  # type: ignore[attr-defined]  # it is a generator


def test_no_photos_are_no_scores(model: Path) -> None:
    assert list(Scorer(model, device="cpu").score([])) == []


def test_a_trained_model_scores_photos_as_providers_do(photos: list[Path], tmp_path: Path) -> None:
    untrained = initial_model("mobilenet_v2", None, seed=0)
    path = tmp_path / "model.safetensors"
    checkpoint.save(path, untrained, {})
    on_providers = predict(untrained, [untrained.preparation.store(Image.open(photo)) for photo in photos])
    here = [score.probabilities for score in Scorer(path, device="cpu").score(photos)]
    assert np.abs(np.array(here) - on_providers).max() < 1e-6


@needs_weights
def test_a_large_photo_scores_like_its_small_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIMA_GOLEM_CACHE", str(tmp_path))
    from nima.weights.fetching import import_weights

    scorer = Scorer(import_weights("mobilenet_v1-ava", KERAS), device="cpu")
    differences, differences_nearest = [], []
    for name in ("china.jpg", "kodim23.png"):
        photo = Image.open(DATA / "photos" / name)
        large = photo.resize((3200, 3200 * photo.height // photo.width), Image.Resampling.BICUBIC)
        noise = np.random.default_rng(0).integers(-14, 15, (large.height, large.width, 1), dtype=np.int16)
        large = Image.fromarray((np.asarray(large) + noise).clip(0, 255).astype(np.uint8))
        file = io.BytesIO()
        large.save(file, "JPEG", quality=92)
        decoded = Image.open(file).convert("RGB")
        small = decoded.resize((800, 800 * photo.height // photo.width), Image.Resampling.LANCZOS)
        nearest = decoded.resize((224, 224), Image.Resampling.NEAREST)
        as_jpeg, as_copy, as_nearest = scorer.score([file.getvalue(), small, nearest])
        assert (as_jpeg.width, as_jpeg.height) == large.size
        differences.append(abs(as_jpeg.aesthetic_score - as_copy.aesthetic_score))
        differences_nearest.append(abs(as_nearest.aesthetic_score - as_copy.aesthetic_score))
    # The reduced decode moves a score by hundredths; taking single pixels of the large photo by tenths.
    assert max(differences) < 0.06
    assert np.mean(differences) < np.mean(differences_nearest) / 3


@pytest.mark.parametrize("runtime", ["onnx", "torch"])
@pytest.mark.parametrize(("backbone", "multi_level"), [("mobilenet_v1", False), ("squeezenet1_1", True)])
def test_the_head_makes_the_probabilities_of_the_features(
    runtime: Runtime, backbone: str, multi_level: bool, tmp_path: Path
) -> None:
    path = tmp_path / "model.safetensors"
    network = initial_model(backbone, None, seed=1, multi_level=multi_level)
    checkpoint.save(path, network, {})
    score = next(FeatureScorer(path, runtime=runtime, device="cpu").score(picture(2)))
    assert score.features is not None
    assert score.features.shape == (network.head.in_features,)
    logits = network.eval().rate(torch.from_numpy(score.features).float())
    assert score.probabilities == pytest.approx(logits.softmax(dim=0).tolist(), abs=1e-3)


def test_both_runtimes_give_the_same_scores_and_a_model_is_converted_once(
    model: Path, photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIMA_GOLEM_CACHE", str(tmp_path / "cache"))
    sources = [*photos, picture(5, 1900, 1300)]  # the last one is larger than AVA's photos
    expected = [score.probabilities for score in Scorer(model, runtime="torch", device="cpu").score(sources)]
    for converter in ("onnx", None):  # without this package nothing can be converted
        if converter is None:
            monkeypatch.setitem(sys.modules, "onnx", None)
        found = list(Scorer(model, runtime="onnx", batch_size=4).score([*sources, tmp_path / "missing.jpg"]))
        assert np.abs(np.array([score.probabilities for score in found[:-1]]) - expected).max() < 1e-5
        assert all(sum(score.probabilities or ()) == pytest.approx(1, abs=1e-9) for score in found[:-1])
        assert found[-1].error is not None


def test_a_converted_model_is_used_without_torch(model: Path, photos: list[Path]) -> None:
    convert_model(model)
    program = (
        "import sys\nfrom nima.scoring import Scorer\n"
        f"(score,) = Scorer({str(model)!r}).score({str(photos[0])!r})\n"
        "print(score.aesthetic_score, sorted({'torch', 'torchvision', 'onnx'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    score, modules = done.stdout.strip().split(" ", 1)
    assert modules == "[]"
    assert float(score) == pytest.approx(next(Scorer(model, runtime="torch").score(photos)).aesthetic_score, abs=1e-4)


def test_a_converted_model_belongs_to_one_content_of_the_file(
    model: Path, photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIMA_GOLEM_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "changing.safetensors"
    for source in (model, None):
        if source is not None:
            path.write_bytes(source.read_bytes())
        else:
            network, metadata = checkpoint.load(path)
            with torch.no_grad():
                network.head.bias.add_(torch.arange(10.0))
            checkpoint.save(path, network, metadata)
        assert not is_converted(path)
        found = next(Scorer(path).score(photos)).aesthetic_score
        assert found == pytest.approx(next(Scorer(path, runtime="torch").score(photos)).aesthetic_score, abs=1e-4)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert converted_model_path(path).name == f"{digest}-{VERSION}.onnx"


def test_a_broken_converted_model_is_made_anew(
    model: Path, photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIMA_GOLEM_CACHE", str(tmp_path))
    kept = convert_model(model)
    whole = kept.read_bytes()
    for broken in (b"", whole[: len(whole) // 2]):
        kept.write_bytes(broken)
        assert next(Scorer(model, runtime="onnx").score(photos)).error is None
        assert kept.read_bytes() == whole


def test_torch_is_used_where_onnx_runtime_cannot_run_even_a_new_file(
    model: Path, photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIMA_GOLEM_CACHE", str(tmp_path))
    monkeypatch.setenv("OMP_NUM_THREADS", "9" * 20)  # more than ONNX Runtime can count
    with pytest.raises(RuntimeMissing, match="ONNX Runtime cannot use"):
        Scorer(model, runtime="onnx")
    assert next(Scorer(model).score(photos)).error is None


def test_without_onnx_runtime_torch_is_used_unless_it_is_asked_for(
    model: Path, photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ScoringError, match="not for cuda"):
        Scorer(model, runtime="onnx", device="cuda")
    expected = next(Scorer(model, runtime="torch", device="cpu").score(photos))
    (tmp_path / "file").write_bytes(b"")
    for folder, missing, reason in (
        (tmp_path / "file" / "cache", "", "set NIMA_GOLEM_CACHE"),  # a folder that cannot be made
        (tmp_path / "new", "onnx", "pip install onnx"),
        (tmp_path / "new", "onnxruntime", "pip install onnxruntime"),
    ):
        with monkeypatch.context() as patch:
            patch.setenv("NIMA_GOLEM_CACHE", str(folder))
            if missing:
                patch.setitem(sys.modules, missing, None)
            with pytest.raises(RuntimeMissing, match=reason):
                Scorer(model, runtime="onnx")
            assert next(Scorer(model, device="cpu").score(photos)) == expected


def test_models_and_devices_that_are_not_there_are_named(model: Path, tmp_path: Path) -> None:
    with pytest.raises(ScoringError, match="no device 'abacus'"):
        Scorer(model, device="abacus")
    (tmp_path / "no-model.safetensors").write_bytes(b"no model")
    with pytest.raises(checkpoint.CheckpointError, match="no-model"):
        Scorer(tmp_path / "no-model.safetensors")
