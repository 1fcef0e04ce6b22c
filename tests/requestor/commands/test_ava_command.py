"""Tests of `nima-golem ava`, run as a program."""

from __future__ import annotations

from pathlib import Path

import pytest
from ava_folder import make_ava_folder
from click.testing import CliRunner, Result

from nima.ava.splits import random_split, read_image_ids, read_split
from requestor.commands.main import main

LISTS = Path(__file__).resolve().parents[4] / "shared" / "data" / "ava" / "lists"


def ava(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["ava", *map(str, arguments)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_ava_folder(tmp_path / "tiny", images=20)


def test_a_sound_data_set_is_said_to_be_sound(folder: Path) -> None:
    result = ava("check", folder)
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0] == "20 photos in the list: 20 clean, 0 missing, 0 unreadable."
    assert read_image_ids(folder / "clean.txt").tolist() == list(range(1000, 1020))


def test_bad_photos_are_named_and_left_out_of_the_clean_list(folder: Path, tmp_path: Path) -> None:
    (folder / "images" / "1003.jpg").unlink()
    (folder / "images" / "1005.jpg").write_bytes((folder / "images" / "1005.jpg").read_bytes()[:800])
    result = ava("check", folder, "--output", tmp_path / "good.txt", "--threads", 2)
    assert result.exit_code == 1
    assert "18 clean, 1 missing, 1 unreadable" in result.stdout
    assert "Missing: 1003" in result.stdout
    assert "1005.jpg: the photo is damaged" in result.stdout
    assert read_image_ids(tmp_path / "good.txt").tolist() == [i for i in range(1000, 1020) if i not in (1003, 1005)]


def test_photos_that_are_bad_in_every_copy_are_named_and_excused(folder: Path) -> None:
    rows = (folder / "AVA.txt").read_text()
    (folder / "AVA.txt").write_text(rows.replace(" 1003 ", " 440774 "))
    result = ava("check", folder)
    assert result.exit_code == 0
    assert "Bad in every copy of AVA: 440774." in result.stdout


def test_a_random_split_keeps_to_clean_ids_and_says_its_hash(folder: Path) -> None:
    (folder / "images" / "1003.jpg").unlink()
    ava("check", folder)
    result = ava("split", folder, "random", "--seed", 4, "--test-share", 0.3, "--clean", folder / "clean.txt")
    train, test = read_image_ids(folder / "splits" / "train.txt"), read_image_ids(folder / "splits" / "test.txt")
    clean = [i for i in range(1000, 1020) if i != 1003]
    assert sorted([*train, *test]) == clean
    split = random_split(clean, 4, 0.3)
    assert test.tolist() == split.image_ids.tolist()
    assert split.hash[:12] in result.stdout


@pytest.mark.skipif(not LISTS.is_dir(), reason="needs AVA's lists")
def test_published_splits_keep_their_hash(folder: Path, tmp_path: Path) -> None:
    (folder / "aesthetics_image_lists").symlink_to(LISTS / "aesthetics_image_lists")
    result = ava("split", folder, "official")
    assert "Split 'official' (20,000 images, " in result.stdout
    # One of the official ids is among the twenty by chance.
    assert "19,999 of its test ids have no ratings in AVA.txt" in result.stdout
    assert read_split(folder / "splits" / "test.txt").name == "official"
    assert len(read_image_ids(folder / "splits" / "train.txt")) == 19
    ava("split", folder, "idealo", "--ids", LISTS / "idealo_test.lst", "--output", tmp_path / "out")
    assert read_split(tmp_path / "out" / "test.txt").name == "idealo"


def test_a_split_without_its_list_says_where_to_get_it(folder: Path) -> None:
    missing = ava("split", folder, "idealo")
    assert missing.exit_code == 2
    assert "ava_labels_test.json" in missing.stderr
    wrong = ava("split", folder, "official", "--ids", folder / "splits" / "test.txt")
    assert wrong.exit_code == 1
    assert "is not the official test split" in wrong.stderr
