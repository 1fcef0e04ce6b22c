"""Tests of `nima-golem ava import`, run as a program."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from listed_photos import draw_photos

from nima.ava import Dataset
from requestor.commands.main import main


def ava(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["ava", *map(str, arguments)])


@pytest.fixture
def stars(tmp_path: Path) -> Path:
    draw_photos(tmp_path / "photos", *(f"{number}.jpg" for number in range(12)))
    lines = [f"{number}.jpg,{1 + number % 5}" for number in range(14)]
    (tmp_path / "photos" / "stars.csv").write_text("path,stars\n" + "\n".join(lines) + "\n")
    return tmp_path / "photos" / "stars.csv"


def test_an_import_tells_what_it_took_and_what_not_and_the_result_can_be_checked_and_split(
    stars: Path, tmp_path: Path
) -> None:
    result = ava("import", stars, tmp_path / "mine", "--raters", "me")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        f"stars: 12 photos in {tmp_path / 'mine'}.",
        "Kept as: hard links 12.",
        "2 rows were left out (missing 2):",
        "  stars.csv: line 14: 12.jpg does not exist",
        "  stars.csv: line 15: 13.jpg does not exist",
        f"Next: nima-golem ava check {tmp_path / 'mine'}",
    ]
    assert Dataset.read(tmp_path / "mine") == Dataset("stars", "me", private=True)
    assert ava("check", tmp_path / "mine").exit_code == 0
    split = ava("split", tmp_path / "mine", "random", "--test-share", "0.25")
    assert "9 ids for training" in split.stdout


def test_the_json_has_the_same_facts(stars: Path, tmp_path: Path) -> None:
    result = ava("import", stars, tmp_path / "mine", "--json", "--copy", "--public", "--name", "n", "--licence", "MIT")
    told = json.loads(result.stdout)
    assert (told["name"], told["photos"], told["kept"], told["refused"]) == ("n", 12, {"copy": 12}, {"missing": 2})
    assert told["refused_rows"][0]["where"] == "stars.csv: line 14"
    assert Dataset.read(tmp_path / "mine") == Dataset("n", licence="MIT")


@pytest.mark.parametrize("scale", ["5..1", "1-5", "1..2..3", "0..inf", ".."])
def test_a_scale_that_is_none_is_a_usage_error(scale: str, stars: Path, tmp_path: Path) -> None:
    result = ava("import", stars, tmp_path / "mine", "--scale", scale)
    assert result.exit_code == 2
    assert "such as 1..5" in result.stderr


def test_errors_name_what_is_wrong_and_leave_no_data_set(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = ava("import", tmp_path / "empty", tmp_path / "mine")
    assert result.exit_code == 1
    assert "holds none of the data sets that are known" in result.stderr
    assert not (tmp_path / "mine").exists()
