"""Tests of `nima-golem evaluate`, run as a program."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from ava_folder import make_ava_folder
from click.testing import CliRunner, Result
from scipy import io

from nima.ava.prediction_table import PredictionTableError, read_prediction_table
from nima.ava.ratings_list import read_ratings
from nima.ava.splits import read_split
from nima.model import checkpoint
from nima.model.network import initial_model
from nima.model.preparation import Preparation
from nima.photos.reading import open_photo
from nima.ratings.metrics import compute_metrics
from nima.training.loop import predict
from requestor.commands.main import main

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
PUBLISHED = DATA / "nima" / "idealo_predictions_on_ava_test.mat"
needs_ava = pytest.mark.skipif(not PUBLISHED.exists(), reason="needs the published predictions")
HEADER = "image_id," + ",".join(f"p{rating}" for rating in range(1, 11))


@pytest.fixture(scope="module")
def ava(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_ava_folder(tmp_path_factory.mktemp("ava") / "tiny", images=20, tested=12)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "small.safetensors"
    checkpoint.save(path, initial_model("mobilenet_v2", None, seed=0), {"name": "small"})
    return path


def evaluate(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["evaluate", *map(str, arguments)])


def write_table(path: Path, image_ids: list[int], predicted: np.ndarray) -> Path:  # type: ignore[type-arg]
    rows = [f"{image_id},{','.join(map(repr, p.tolist()))}" for image_id, p in zip(image_ids, predicted, strict=True)]
    path.write_text("\n".join([HEADER, *rows]) + "\n")
    return path


@pytest.fixture(scope="module")
def table(ava: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Writes predictions for all of tiny AVA that are right except for noise."""
    ratings = read_ratings(ava)
    noisy = ratings.votes + np.random.default_rng(0).integers(0, 30, ratings.votes.shape)
    predicted = noisy / noisy.sum(axis=1, keepdims=True)
    return write_table(tmp_path_factory.mktemp("table") / "predictions.csv", ratings.image_ids.tolist(), predicted)


@needs_ava
def test_the_published_figures_from_the_published_predictions(tmp_path: Path) -> None:
    published = io.loadmat(PUBLISHED)
    ids = published["labels"][:, 0].astype(int).tolist()
    file = write_table(tmp_path / "idealo.csv", ids, published["predictions"].reshape(-1, 10))
    listed = DATA / "ava" / "lists" / "idealo_test.lst"
    result = evaluate(
        "--predictions", file, "--ava", DATA / "ava" / "AVA.txt", "--ids", listed, "--json", "--bootstrap", 50
    )
    figures = json.loads(result.stdout)
    expected = {
        "srcc_mean": 0.59496, "lcc_mean": 0.61297, "srcc_std": 0.17487, "lcc_std": 0.17646, "emd_r1": 0.05100,
        "emd_r2": 0.07322, "accuracy": 0.77231, "constant_emd_r1": 0.06360, "constant_emd_r2": 0.08926, "n": 25548,
        "constant_srcc_mean": 0, "constant_accuracy": 0.70319,
    }  # fmt: skip
    assert {key: round(figures[key], 5) for key in expected} == expected
    assert figures["split"]["name"] == "idealo"
    assert figures["missing"] == 3
    assert "3 images of the split" in result.stderr
    low, high = figures["intervals"]["srcc_mean"]
    assert 0.58 < low < 0.59496 < high < 0.61


def test_the_table_shows_metrics_beside_the_constants(ava: Path, table: Path) -> None:
    result = evaluate("--predictions", table, "--ava", ava / "AVA.txt", "--bootstrap", 20)
    lines = result.stdout.splitlines()
    assert lines[0].startswith("20 photos, split 'all predictions'")
    metrics = compute_metrics(read_prediction_table(table).probabilities, read_ratings(ava).votes)
    assert f"{metrics.srcc_mean:.5f}" in lines[2]
    emd = next(line for line in lines if line.startswith("EMD, r = 1"))
    assert emd.split()[4] == f"{metrics.emd_r1:.5f}"
    assert emd.split()[-1] == f"{metrics.constant_emd_r1:.5f}"


def test_a_model_is_evaluated_on_the_folders_test_split(ava: Path, model: Path) -> None:
    result = evaluate("--model", model, "--ava", ava, "--json", "--bootstrap", 0)
    figures = json.loads(result.stdout)
    split = read_split(ava / "splits" / "test.txt")
    assert figures["split"] == {"name": "test", "hash": split.hash, "images": 12}
    assert (figures["n"], figures["model"], figures["intervals"]) == (12, "small", {})
    # The answers of providers for the same photos.
    jpegs = [Preparation().store(open_photo(ava / "images" / f"{image_id}.jpg")) for image_id in split.image_ids]
    expected = compute_metrics(
        predict(checkpoint.load(model)[0], jpegs), read_ratings(ava).select(split.image_ids).votes
    )
    assert figures["emd_r1"] == pytest.approx(expected.emd_r1, abs=1e-6)


def test_an_unreadable_photo_is_left_out_and_counted_up_to_a_limit(model: Path, tmp_path: Path) -> None:
    ava = make_ava_folder(tmp_path / "tiny", images=25, tested=22)
    (ava / "images" / "1004.jpg").write_bytes(b"broken")
    result = evaluate("--model", model, "--ava", ava, "--json", "--bootstrap", 0)
    assert (json.loads(result.stdout)["n"], json.loads(result.stdout)["missing"]) == (21, 1)
    (ava / "images" / "1005.jpg").unlink()
    result = evaluate("--model", model, "--ava", ava, "--json")
    assert result.exit_code == 1
    assert "2 of the 22 images of the split 'test' cannot be evaluated" in result.stderr


def test_evaluations_on_equal_splits_are_compared_and_others_refused_by_name(
    ava: Path, table: Path, tmp_path: Path
) -> None:
    saved = tmp_path / "saved.json"
    ids = ava / "splits" / "test.txt"
    common = ("--predictions", table, "--ava", ava, "--bootstrap", 0)
    saved.write_text(evaluate(*common, "--ids", ids, "--json").stdout)
    beside = evaluate(*common, "--ids", ids, "--compare", saved)
    assert beside.stdout.splitlines()[1].endswith("compared")
    figure = f"{json.loads(saved.read_text())['srcc_mean']:.5f}"
    assert beside.stdout.splitlines()[2].count(figure) == 2
    refused = evaluate(*common, "--compare", saved)
    assert refused.exit_code == 1
    assert refused.stdout == ""
    assert "'all predictions'" in refused.stderr
    assert "do not compare with figures on 'test'" in refused.stderr


@needs_ava
def test_a_model_is_not_evaluated_on_a_published_split_whose_photos_it_was_trained_on(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    trained = {"name": "idealo", "hash": read_split(DATA / "ava" / "lists" / "idealo_test.lst").hash}
    checkpoint.save(path, initial_model("mobilenet_v1", None, seed=0), {"split": trained})
    official = DATA / "ava" / "lists" / "aesthetics_image_lists" / "generic_test.jpgl"
    result = evaluate("--model", path, "--ava", DATA / "ava", "--ids", official)
    assert result.exit_code == 1
    assert "'idealo'" in result.stderr
    assert "'official'" in result.stderr


def test_a_model_of_another_split_is_evaluated_with_a_warning(ava: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    checkpoint.save(path, initial_model("mobilenet_v1", None, seed=0), {"split": {"name": "mine", "hash": "0" * 64}})
    result = evaluate("--model", path, "--ava", ava, "--bootstrap", 0, "--json")
    assert result.exit_code == 0
    assert "trained under the split 'mine'" in result.stderr
    assert json.loads(result.stdout)["n"] == 12


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        (["a,b,c"], "the first line must be image_id,p1,"),
        ([HEADER], "no predictions"),
        ([HEADER, "1," + ",".join(["0.1"] * 9)], "line 2: 10 columns instead of 11"),
        ([HEADER, "1," + ",".join(["0.1"] * 10), "x," + ",".join(["0.1"] * 10)], "line 3: invalid literal"),
        ([HEADER, "1," + ",".join(["0.1"] * 9 + ["nan"])], "line 2: an id and ten probabilities with sum 1"),
        ([HEADER, "1," + ",".join(["0.2"] * 10)], "line 2: an id and ten probabilities with sum 1"),
        ([HEADER, "-1," + ",".join(["0.1"] * 10)], "line 2: an id and ten probabilities with sum 1"),
        ([HEADER, *["1," + ",".join(["0.1"] * 10)] * 2], "line 3: image 1 was on line 2 already"),
    ],
)
def test_a_malformed_table_is_named_by_its_line(rows: list[str], complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "predictions.csv"
    path.write_text("\n".join(rows))
    with pytest.raises(PredictionTableError, match=complaint):
        read_prediction_table(path)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--ava", "{ava}"), "either --predictions FILE or --model MODEL"),
        (("--ava", "{ava}", "--predictions", "x", "--model", "y"), "either --predictions FILE or --model MODEL"),
        (("--ava", "{ava}", "--predictions", "nowhere.csv"), "nowhere.csv: cannot read the predictions"),
        (("--ava", "nowhere", "--predictions", "{table}"), "nowhere: cannot read the AVA list"),
        (("--ava", "{ava}", "--predictions", "{table}", "--ids", "nowhere"), "nowhere: cannot read the list of ids"),
        (("--ava", "{ava}", "--predictions", "{table}", "--compare", "{table}"), "not the output of `nima-golem eval"),
    ],
)
def test_bad_options_are_one_clear_error(
    arguments: tuple[str, ...], complaint: str, ava: Path, table: Path, model: Path
) -> None:
    result = evaluate(*(argument.format(ava=ava, table=table, model=model) for argument in arguments))
    assert result.exit_code in (1, 2)
    assert result.stdout == ""
    assert complaint in result.stderr
