"""Actions on chosen photos; none of them ever loses a file."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from drawn_photos import picture
from spread_model import save_spread_model

from nima.scoring.score import Score
from nima.xmp import NEW_XMP, PhotoRater, with_property
from nima.xmp.packet import property_values
from requestor.commands.main import main
from requestor.scoring.actions import PhotoActions
from requestor.scoring.marking import Marking


def score_of(path: Path, rating: int = 9) -> Score:
    return Score.of(str(path), np.eye(10)[rating - 1], "model@0", 3, 2)


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    """Makes two photos of the same name."""
    paths = [tmp_path / "one" / "photo.jpg", tmp_path / "two" / "photo.jpg"]
    for path in paths:
        path.parent.mkdir()
        path.write_text(str(path))
    return paths


def files(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


@pytest.mark.parametrize("action", ["copy_to", "link_to"])
def test_photos_of_one_name_get_numbers_and_a_second_run_adds_nothing(
    action: str, photos: list[Path], tmp_path: Path
) -> None:
    notes: list[str] = []
    for _ in range(2):
        actions = PhotoActions(notes.append, **{action: tmp_path / "best"})  # type: ignore[arg-type]
        assert len(list(actions.on(map(score_of, photos)))) == 2
        assert files(tmp_path / "best") == {"photo.jpg": str(photos[0]), "photo-2.jpg": str(photos[1])}
    assert (notes, actions.failures) == ([], 0)
    assert (tmp_path / "best" / "photo.jpg").is_symlink() == (action == "link_to")


def test_nothing_is_replaced_not_even_a_broken_link(photos: list[Path], tmp_path: Path) -> None:
    best = tmp_path / "best"
    best.mkdir()
    (best / "photo.jpg").symlink_to(tmp_path / "nowhere")
    (best / "photo-2.jpg").write_text("a person's")
    list(PhotoActions(print, copy_to=best).on([score_of(photos[0])]))
    assert os.readlink(best / "photo.jpg") == str(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()
    assert (best / "photo-2.jpg").read_text() == "a person's"
    assert (best / "photo-3.jpg").read_text() == str(photos[0])


def test_a_copy_that_fails_is_told_and_the_others_go_on(photos: list[Path], tmp_path: Path) -> None:
    notes: list[str] = []
    actions = PhotoActions(notes.append, copy_to=tmp_path / "best")
    list(actions.on([score_of(tmp_path / "gone.jpg"), score_of(photos[0])]))
    assert files(tmp_path / "best") == {"photo.jpg": str(photos[0])}
    assert actions.failures == 1
    assert "gone.jpg: No such file or directory." in notes[0]


def test_a_dry_run_of_photos_of_one_name_tells_the_names_of_the_real_run(photos: list[Path], tmp_path: Path) -> None:
    notes: list[str] = []
    list(PhotoActions(notes.append, copy_to=tmp_path / "best", dry_run=True).on(map(score_of, [*photos, photos[0]])))
    assert notes == [f"would write {tmp_path / 'best' / name}" for name in ("photo.jpg", "photo-2.jpg")]
    assert not (tmp_path / "best").exists()


@pytest.mark.parametrize("dry", [True, False])
def test_ratings_are_counted_and_a_dry_run_counts_the_same(dry: bool, photos: list[Path]) -> None:
    notes: list[str] = []
    (photos[1].parent / "photo.xmp").write_bytes(with_property(NEW_XMP, "Rating", "-1"))
    rival, raw = photos[0].with_suffix(".png"), photos[0].with_suffix(".nef")
    for path in (rival, raw):
        path.touch()
    actions = PhotoActions(notes.append, rater=PhotoRater("lightroom", dry_run=dry), dry_run=dry)
    list(actions.on(map(score_of, [*photos, rival, raw])))
    assert actions.rating_summary() == ("Dry run: " if dry else "") + "1 rated, 1 kept, 2 failed"
    assert actions.failures == 2
    assert sum("would be the sidecar of" in note for note in notes) == 2
    expected = [
        f"would keep the rating -1 in {photos[1].with_suffix('.xmp')}",
        f"would write the rating 5 in {raw.with_suffix('.xmp')}",
    ]
    assert [note for note in notes if note.startswith("would")] == (expected if dry else [])
    assert raw.with_suffix(".xmp").exists() != dry


def test_a_score_decides_between_stars_rejects_and_labels() -> None:
    marking = Marking(reject_below=4, labels=((5, "Yellow"), (7, "Green")))
    scores = [score_of(Path("photo.jpg"), rating) for rating in (3, 4, 5, 6, 7)]
    assert [marking.rating(score) for score in scores] == [-1, 1, 2, 4, 5]
    assert [marking.label(score) for score in scores] == [None, None, "Yellow", "Yellow", "Green"]
    assert Marking().label(scores[4]) is None


def test_a_photo_behind_the_option_of_ratings_is_a_photo(tmp_path: Path) -> None:
    save_spread_model(tmp_path / "model.safetensors")
    picture(1).save(tmp_path / "photo.jpg")
    arguments = ["--model", tmp_path / "model.safetensors", "--reject-below", "9.9", "--label", "Red", "1", "--xmp"]
    result = CliRunner().invoke(main, ["score", *map(str, arguments), str(tmp_path / "photo.jpg")])
    assert result.stderr.endswith("1 rated, 0 kept, 0 failed\n")
    sidecar = (tmp_path / "photo.jpg.xmp").read_bytes()
    assert [property_values(sidecar, name) for name in ("Rating", "Label")] == [["-1"], ["Red"]]


def test_ratings_inside_photos_need_exiftool_before_anything_is_scored(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    result = CliRunner().invoke(main, ["score", "photo.jpg", "--model", "none", "--xmp", "embed"])
    assert result.exit_code != 0
    assert "exiftool, which is not installed" in result.output


@pytest.mark.parametrize("dry", [True, False])
def test_the_command_copies_and_rates_what_it_chose(dry: bool, tmp_path: Path) -> None:
    save_spread_model(tmp_path / "model.safetensors")
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed in range(4):
        picture(seed).save(folder / f"{seed}.jpg")
    arguments = ["score", str(folder), "--model", str(tmp_path / "model.safetensors"), "--top", "2"]
    arguments += ["--copy-to", str(tmp_path / "best"), "--xmp", "--xmp-style", "lightroom", "--format", "csv"]
    result = CliRunner().invoke(main, [*arguments, *(["--dry-run"] if dry else [])])
    assert result.exit_code == 0
    chosen = [Path(line.split(",")[0]) for line in result.stdout.splitlines()[1:]]
    expected = set() if dry else {photo.name for photo in chosen}
    assert len(chosen) == 2
    assert {path.name for path in tmp_path.glob("best/*")} == expected
    assert {path.stem + ".jpg" for path in folder.glob("*.xmp")} == expected
    assert result.stderr.count("would write the rating") == (2 if dry else 0)
    assert result.stderr.count("would write") == (4 if dry else 0)
    assert result.stderr.endswith("2 rated, 0 kept, 0 failed\n")
