"""`nima-golem explain` and its measurements."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from drawn_photos import picture
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from spread_model import save_spread_model

from nima.explain.explanation import PLACES, explain_score
from nima.explain.photo_changes import EDITS, cropped_as_rotated, exposed, rotated
from nima.photos.reading import PhotoError
from nima.scoring.scorer import Scorer
from requestor.commands.main import main


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "spread.safetensors"
    save_spread_model(path)
    return path


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["explain", *map(str, arguments)])


def test_json_is_the_row_of_score_and_a_map_of_what_there_is_to_lose(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    photo = Image.new("RGB", (320, 200), (120, 130, 140))
    photo.paste(picture(1, 60, 40).effect_spread(8), (220, 140))  # right, below the middle
    photo.save("photo.png")
    row = json.loads(run("photo.png", "--model", model, "--json").stdout)
    expected = next(iter(Scorer(model).score(["photo.png"]))).as_row()
    assert {name: row[name] for name in expected} == json.loads(json.dumps(expected))
    assert row["copies"][0] == pytest.approx(row["aesthetic_score"], abs=1e-5)
    assert [effect["name"] for effect in row["effects"]] == [edit.name for edit in EDITS]
    places = np.array(row["places"])
    strongest = np.unravel_index(np.abs(places).argmax(), (PLACES, PLACES))
    assert strongest[0] in (5, 6)
    assert strongest[1] in (5, 6, 7)
    assert places[:2, :3] == pytest.approx(0, abs=1e-5)
    assert {path.name for path in tmp_path.iterdir()} == {"photo.png"}


def test_an_unreadable_photo_is_an_error(model: Path, tmp_path: Path) -> None:
    with pytest.raises(PhotoError, match="cannot be opened"):
        explain_score(Scorer(model), tmp_path / "none.jpg")


@settings(deadline=None, max_examples=30)
@given(st.integers(16, 400), st.integers(16, 400), st.sampled_from([-3, -1, 1, 3]))
def test_a_turned_photo_has_no_empty_corners_and_the_size_of_its_crop(width: int, height: int, degrees: int) -> None:
    white = Image.new("RGB", (width, height), "white")
    turned = rotated(white, degrees)
    assert turned.size == cropped_as_rotated(white, degrees).size
    assert turned.getextrema() == ((255, 255),) * 3


def test_a_stop_doubles_the_light() -> None:
    # 18% grey is 118 in sRGB, 36% is 162, 9% is 85.
    grey = Image.new("RGB", (1, 1), (118, 118, 118))
    assert exposed(grey, 0).getpixel((0, 0)) == (118, 118, 118)
    assert exposed(grey, 1).getpixel((0, 0)) == pytest.approx((162,) * 3, abs=1)
    assert exposed(grey, -1).getpixel((0, 0)) == pytest.approx((85,) * 3, abs=1)
    assert exposed(Image.new("RGB", (1, 1), "white"), 1).getpixel((0, 0)) == (255, 255, 255)


def test_the_command_draws_and_prints_and_replaces_nothing(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    picture(2).save("photo.jpg")
    photo = Path("photo.jpg").read_bytes()

    result = run("photo.jpg", "--model", model)
    assert result.exit_code == 0, result.output
    assert "1 stop brighter" in result.stdout
    with Image.open("photo-explained.png") as drawn:
        drawn.load()
        assert drawn.width == 1200

    Path("photo-explained.png").write_bytes(b"mine")
    refused = run("photo.jpg", "--model", model)
    assert refused.exit_code == 2
    assert "--overwrite" in refused.stderr
    assert Path("photo-explained.png").read_bytes() == b"mine"

    itself = run("photo.jpg", "--model", model, "--output", "photo.jpg", "--overwrite")
    assert itself.exit_code == 2
    assert "the photo itself" in itself.stderr
    assert Path("photo.jpg").read_bytes() == photo
