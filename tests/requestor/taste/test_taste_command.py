"""`nima-golem taste`: stars become a model that ranks as their owner does; photos stay as they are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from rated_photos import draw_rated_photos
from scipy.stats import spearmanr
from spread_model import save_spread_model

from nima.scoring import Scorer
from nima.xmp import PhotoRater
from requestor.commands.main import main

PHOTOS, RATED = 90, 60


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments)])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "spread.safetensors"
    save_spread_model(path)
    return path


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return tmp_path / "photos"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_an_owner_who_likes_warm_colours_is_learnt(photos: Path, model: Path) -> None:
    warm = draw_rated_photos(photos, PHOTOS, RATED)
    before = contents(photos)
    result = run("taste", photos, "--start", model, "--json")
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    assert (facts["photos"], facts["rated"], facts["rejected"], facts["unreadable"]) == (PHOTOS, RATED, 0, 0)
    unseen = [photos / f"{index:03}.jpg" for index in range(RATED, PHOTOS)]
    figures = [
        spearmanr([score.aesthetic_score for score in Scorer(name).score(unseen)], warm[RATED:]).statistic
        for name in ("taste", model)
    ]
    assert figures[0] > max(figures[1] + 0.3, 0.8)
    assert facts["srcc"]["low"] <= facts["srcc"]["srcc"] <= facts["srcc"]["high"]
    assert facts["srcc"]["srcc"] > facts["srcc_start"]["srcc"] + 0.3
    assert contents(photos) == before
    assert "60 photos" in run("models", "list").stdout.splitlines()[-1]
    assert "one person" in run("models", "info", "taste").stdout


def test_the_same_call_reads_no_photo_again_and_learns_the_same(
    photos: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw_rated_photos(photos, 30, 30)
    first = run("taste", photos, "--start", model, "--json")
    monkeypatch.setattr("nima.scoring.scorer.read_photo", None)
    assert run("taste", photos, "--start", model, "--json").stdout == first.stdout


def test_rejected_and_broken_photos_are_counted(photos: Path, model: Path) -> None:
    draw_rated_photos(photos, 30, 26)
    PhotoRater("lightroom", overwrite=True).rate(photos / "027.jpg", -1)
    (photos / "000.jpg").write_bytes(b"no photo")
    (photos / "001.jpg.xmp").write_bytes(b"no XMP")
    (photos / "002.jpg.xmp").write_bytes((photos / "002.jpg.xmp").read_bytes().replace(b'Rating="', b'Rating="9'))
    result = run("taste", photos, "--start", model, "--json")
    assert result.exit_code == 1
    facts = json.loads(result.stdout)
    assert (facts["rated"], facts["rejected"], facts["unreadable"]) == (24, 1, 1)
    assert "000.jpg" in result.stderr
    assert result.stderr.count("Counted as unrated") == 2


def jpegs(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.jpg"))


def test_each_wrong_input_has_its_sentence(photos: Path) -> None:
    assert "is no folder" in run("taste", photos).stderr
    draw_rated_photos(photos, 20, 19)
    result = run("taste", photos)
    assert result.exit_code == 2
    assert "19 photos have a rating; 20 are the least" in result.stderr
    PhotoRater("darktable").rate(photos / "019.jpg", 1)
    few = run("taste", photos, "--initial-rating", "1")
    assert few.exit_code == 2
    assert "are the least" in few.stderr  # at least this one counts as unrated


def test_stars_that_are_all_the_same_teach_nothing(photos: Path) -> None:
    draw_rated_photos(photos, 20, 0)
    for path in jpegs(photos):
        PhotoRater("darktable").rate(path, 3)
    result = run("taste", photos)
    assert result.exit_code == 2
    assert "same number of stars" in result.stderr


def test_a_folder_without_photos_says_so(tmp_path: Path) -> None:
    result = run("taste", tmp_path)
    assert result.exit_code == 2
    assert "Pass -r" in result.stderr
