"""Tiny-AVA: AVA's layout, equal bytes for equal seeds, and ratings that follow from visible faults."""

from __future__ import annotations

import csv
import hashlib
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from nima.ava import Dataset
from nima.ratings import mean_rating, standard_deviation
from nima.tiny_ava.drawing import expected_ratings, sample_votes

COMMAND = [sys.executable, "-m", "requestor.commands.main", "ava", "tiny"]
IMAGES = 48


def make(out: Path, *options: str) -> str:
    command = [*COMMAND, str(out), "--images", str(IMAGES), *options]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    out = tmp_path_factory.mktemp("tiny") / "ava"
    return out, make(out)


def rows(out: Path) -> np.ndarray:
    return np.loadtxt(out / "AVA.txt", dtype=np.int64)


def test_it_has_avas_layout(made: tuple[Path, str]) -> None:
    out, _ = made
    table = rows(out)
    assert table.shape == (IMAGES, 15)
    assert table[:, 0].tolist() == list(range(1, IMAGES + 1))
    assert len(set(table[:, 1])) == IMAGES
    assert 190 < table[:, 2:12].sum(axis=1).mean() < 230
    for image_id in table[:, 1]:
        with Image.open(out / "images" / f"{image_id}.jpg") as image:
            image.load()
            assert (image.format, image.mode) == ("JPEG", "RGB")
            assert 250 <= max(image.size) <= 640
    ids = {name: np.loadtxt(out / "splits" / f"{name}.txt", dtype=int).tolist() for name in ("train", "test")}
    assert sorted(ids["train"] + ids["test"]) == sorted(table[:, 1].tolist())
    assert len(ids["test"]) == IMAGES // 4
    assert Dataset.read(out) == Dataset("tiny-AVA", raters="a program", licence="MIT", drawn=True)


def test_equal_seeds_give_equal_bytes_and_other_seeds_others(made: tuple[Path, str], tmp_path: Path) -> None:
    def digest(out: Path) -> str:
        files = sorted(path for path in out.rglob("*") if path.is_file())
        return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()

    make(tmp_path / "same", "--seed", "0")
    make(tmp_path / "other", "--seed", "1")
    assert digest(tmp_path / "same") == digest(made[0])
    assert digest(tmp_path / "other") != digest(made[0])


def test_ratings_follow_from_the_properties(made: tuple[Path, str]) -> None:
    out, _ = made
    with (out / "properties.csv").open() as file:
        properties = {int(row["image_id"]): row for row in csv.DictReader(file)}
    table = rows(out)
    votes = table[:, 2:12]
    means = votes @ np.arange(1, 11) / votes.sum(axis=1)
    quality = [float(properties[image_id]["quality"]) for image_id in table[:, 1]]
    assert np.corrcoef(means, quality)[0, 1] > 0.98
    # Each fault lowers the rating if the others stay the same: a linear fit finds the sign of every one.
    faults = ("exposure", "blur", "noise", "clash", "tilt")
    matrix = [[abs(float(properties[image_id][name])) for name in faults] + [1.0] for image_id in table[:, 1]]
    slopes = np.linalg.lstsq(np.array(matrix), means, rcond=None)[0][: len(faults)]
    assert (slopes < 0).all()


def test_unconventional_images_divide_the_raters_and_bad_photography_does_not(made: tuple[Path, str]) -> None:
    out, _ = made
    with (out / "properties.csv").open() as file:
        properties = {int(row["image_id"]): row for row in csv.DictReader(file)}
    table = rows(out)
    deviations = standard_deviation(table[:, 2:12] / table[:, 2:12].sum(axis=1, keepdims=True))
    disagreement = [float(properties[image_id]["disagreement"]) for image_id in table[:, 1]]
    assert np.corrcoef(deviations, disagreement)[0, 1] > 0.8
    names = ("clash", "tilt", "exposure", "blur", "noise", "misplaced")
    matrix = np.array([[abs(float(properties[image_id][name])) for name in names] for image_id in table[:, 1]])
    shares = np.column_stack([matrix / matrix.max(axis=0), np.ones(len(matrix))])  # 1 is the worst of each fault
    slopes = np.linalg.lstsq(shares, deviations, rcond=None)[0]
    assert slopes[:2].min() > 0.2
    assert np.abs(slopes[2:6]).max() < 0.1


@given(mean=st.floats(1, 10), spread=st.floats(0.5, 2.5), seed=st.integers(0, 1000))
def test_the_expected_ratings_are_those_of_very_many_raters(mean: float, spread: float, seed: int) -> None:
    expected = expected_ratings(mean, spread)
    assert expected.sum() == pytest.approx(1)
    assert (expected >= 0).all()
    tastes = np.random.default_rng(seed).normal(mean, spread, 40_000)
    ratings = np.clip(np.rint(tastes), 1, 10)
    assert mean_rating(expected) == pytest.approx(ratings.mean(), abs=0.06)
    assert standard_deviation(expected) == pytest.approx(ratings.std(), abs=0.06)


@given(mean=st.floats(0, 11), spread=st.floats(1.15, 2.05), seed=st.integers(0, 1000))
def test_votes_are_counts_of_80_to_400_raters(mean: float, spread: float, seed: int) -> None:
    votes = sample_votes(mean, spread, np.random.default_rng(seed))
    assert votes.shape == (10,)
    assert (votes >= 0).all()
    assert 80 <= votes.sum() <= 400


def test_faults_can_be_seen_in_the_images(made: tuple[Path, str]) -> None:
    out, _ = made
    with (out / "properties.csv").open() as file:
        properties = list(csv.DictReader(file))
    pixels = [
        np.asarray(Image.open(out / "images" / f"{row['image_id']}.jpg").convert("L"), float) for row in properties
    ]
    brightness = [image.mean() for image in pixels]
    assert np.corrcoef(brightness, [float(row["exposure"]) for row in properties])[0, 1] > 0.5
    grain = [np.median(np.abs(np.diff(image, axis=0))) for image in pixels]
    assert np.corrcoef(grain, [float(row["noise"]) for row in properties])[0, 1] > 0.8


def test_it_says_what_a_constant_scores_and_where_the_ceiling_is(made: tuple[Path, str]) -> None:
    said = made[1]
    constant = re.search(r"SRCC 0, EMD r=1 (0\.\d+)", said)
    ceiling = re.search(r"ceiling: SRCC (0\.\d+) of the mean and (0\.\d+) of the spread", said)
    assert constant is not None
    assert 0.05 < float(constant[1]) < 0.15
    assert ceiling is not None
    assert 0.9 < float(ceiling[1]) < 1
    assert 0.7 < float(ceiling[2]) < 1


@pytest.mark.parametrize("options", [["--images", "0"], ["--seed", "-1"], ["--images", "many"]])
def test_bad_options_are_refused(tmp_path: Path, options: list[str]) -> None:
    command = [*COMMAND, str(tmp_path), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    command = [*COMMAND, str(tmp_path / "file" / "ava"), "--images", "8"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: {tmp_path / 'file' / 'ava'} could not be written")


def test_a_data_set_is_never_overwritten(made: tuple[Path, str]) -> None:
    before = (made[0] / "AVA.txt").read_bytes()
    done = subprocess.run([*COMMAND, str(made[0]), "--images", "8"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "already holds a data set. Choose another folder" in done.stderr
    assert (made[0] / "AVA.txt").read_bytes() == before
