"""`nima-golem taste`: stars become a model that ranks as their owner does; photos stay as they are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from rated_photos import draw_rated_photos, stars_for
from scipy.stats import spearmanr
from spread_model import save_spread_model

from nima.photos import read_photo
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
    card = run("models", "info", "taste").stdout
    assert "It predicts how the owner of the photos would rate a photo." in card


def test_the_same_call_reads_no_photo_again_and_learns_the_same(
    photos: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw_rated_photos(photos, 30, 30)
    first = run("taste", photos, "--start", model, "--json")
    monkeypatch.setattr("nima.scoring.scorer.read_photo", None)
    assert run("taste", photos, "--start", model, "--json").stdout == first.stdout


def test_a_call_that_was_stopped_goes_on(
    photos: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIMA_GOLEM_CACHE", str(tmp_path / "cache"))  # other tests have drawn the same photos
    draw_rated_photos(photos, 30, 30)
    read: list[str] = []

    def stopping(photo: Path, long_side: int | None = None) -> object:
        if photo.name == "025.jpg":
            raise KeyboardInterrupt
        return read_photo(photo, long_side=long_side)

    def counting(photo: Path, long_side: int | None = None) -> object:
        read.append(photo.name)
        return read_photo(photo, long_side=long_side)

    monkeypatch.setattr("nima.scoring.scorer.read_photo", stopping)
    stopped = run("taste", photos, "--start", model)
    assert stopped.exit_code == 130
    assert "the same command goes on" in stopped.stderr
    monkeypatch.setattr("nima.scoring.scorer.read_photo", counting)
    assert run("taste", photos, "--start", model).exit_code == 0
    assert sorted(read) == [f"{index:03}.jpg" for index in range(16, 30)]  # the first batch of 16 is known


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


def marks_of(photos: dict[str, int], path: Path) -> Path:
    marks = [{"path": name, "stars": stars} for name, stars in photos.items()]
    path.write_text(json.dumps({"format": "nima-golem marks 1", "marks": marks}))
    return path


def test_photos_are_proposed_rated_on_the_sheet_and_taken(photos: Path, model: Path, tmp_path: Path) -> None:
    warm = draw_rated_photos(photos, 60, 15)
    before, sheet = contents(photos), tmp_path / "next.html"
    options = ("--start", model, "--json", "--html", sheet)
    first = json.loads(run("taste", photos, "--next", 8, *options).stdout)
    assert len(set(first["proposed"])) == 8
    assert {int(Path(path).stem) for path in first["proposed"]} <= set(range(15, 60))
    assert "model" not in first  # 15 stars are too few
    page = sheet.read_text(encoding="utf-8")
    assert all(str(photos / Path(path).name) in page for path in first["proposed"])
    given = {path: stars_for(warm[int(Path(path).stem)]) for path in first["proposed"]}
    taken = run("taste", photos, "--from-sheet", marks_of(given, tmp_path / "marks.json"), "--next", 5, *options)
    assert taken.exit_code == 0, taken.output
    second = json.loads(taken.stdout)
    assert (second["marks"], second["rated"]) == ({"taken": 8, "problems": []}, 23)
    assert "model" in second
    assert not set(second["proposed"]) & set(first["proposed"])
    assert contents(photos) == before


def test_kept_stars_follow_the_content_of_a_photo_and_can_be_taken_back(photos: Path, tmp_path: Path) -> None:
    draw_rated_photos(photos, 3, 0)
    marks = tmp_path / "marks.json"

    def rated(given: dict[str, int]) -> int:
        result = run("taste", photos, "--from-sheet", marks_of(given, marks), "--json")
        assert result.exit_code == 0, result.output
        return int(json.loads(result.stdout)["rated"])

    assert rated({"000.jpg": 4, str(photos / "001.jpg"): -1}) == 2
    (photos / "000.jpg").rename(photos / "renamed.jpg")
    assert rated({}) == 2
    assert rated({"renamed.jpg": 0}) == 1


def test_marks_of_other_files_are_not_taken(photos: Path, tmp_path: Path) -> None:
    draw_rated_photos(photos, 2, 0)
    outside = tmp_path / "outside.jpg"
    outside.write_bytes((photos / "000.jpg").read_bytes())
    names = {"../outside.jpg": 1, str(outside): 2, "002.jpg": 3, "\0": 4, ".": 5, "000.jpg.xmp": 5}
    result = run(
        "taste", photos, "--from-sheet", marks_of(names, tmp_path / "marks.json"), "--json", "--xmp", "darktable"
    )
    assert result.exit_code == 1
    facts = json.loads(result.stdout)
    assert (facts["marks"]["taken"], len(facts["marks"]["problems"]), facts["rated"]) == (0, 6, 0)
    assert sorted(contents(photos)) == ["000.jpg", "001.jpg"]


def test_stars_are_written_into_sidecars_only_if_asked(photos: Path, tmp_path: Path) -> None:
    draw_rated_photos(photos, 3, 1)
    own = PhotoRater("darktable").rating_of(photos / "000.jpg")
    marks = marks_of({"000.jpg": own % 5 + 1, "001.jpg": 4, "002.jpg": -1}, tmp_path / "marks.json")
    result = run("taste", photos, "--from-sheet", marks, "--xmp")
    assert result.exit_code == 1
    assert f"it has the rating {own}, which is kept" in result.stderr
    ratings = [PhotoRater("darktable").rating_of(path) for path in jpegs(photos)]
    assert ratings == [own, 4, -1]
    assert run("taste", photos, "--xmp").exit_code == 2


def test_damaged_kept_stars_are_not_overwritten(photos: Path, data: Path, tmp_path: Path) -> None:
    draw_rated_photos(photos, 2, 0)
    file = data / "nima-golem" / "stars.json"
    file.parent.mkdir(parents=True)
    file.write_text('{"format": "nima-golem stars 1", "stars": {"00": 9}}')
    result = run("taste", photos, "--from-sheet", marks_of({"000.jpg": 1}, tmp_path / "marks.json"))
    assert result.exit_code == 2
    assert "stars.json holds the stars" in result.stderr
    assert "9" in file.read_text()


def test_a_file_that_is_no_sheet_is_not_replaced(photos: Path, tmp_path: Path) -> None:
    draw_rated_photos(photos, 2, 0)
    page = tmp_path / "mine.html"
    page.write_text("mine")
    result = run("taste", photos, "--next", 2, "--html", page)
    assert result.exit_code == 2
    assert page.read_text() == "mine"
