"""AVA's list, its splits, and the check of its photos."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ava_folder import make_ava_folder
from hypothesis import given, settings
from hypothesis import strategies as st

from nima.ava.check import check_photos
from nima.ava.ratings_list import KNOWN_BAD_IDS, Ratings, RatingsError, read_ratings
from nima.ava.splits import (
    Split,
    SplitError,
    check_same_split,
    random_split,
    read_image_ids,
    read_split,
    write_image_ids,
)
from nima.ratings.percentiles import ava_percentile

DATA = Path(__file__).resolve().parents[4] / "shared" / "data" / "ava"
needs_ava = pytest.mark.skipif(not DATA.is_dir(), reason="needs AVA's list")

ROW = "1 953619 0 1 5 17 38 36 15 6 5 1 1 22 1396"


def write_list(folder: Path, *rows: str) -> Path:
    path = folder / "AVA.txt"
    path.write_bytes("\n".join(rows).encode())
    return path


def test_a_row_is_read_column_by_column(tmp_path: Path) -> None:
    ratings = read_ratings(write_list(tmp_path, ROW, "2 953958 10 7 15 26 26 21 10 8 1 2 15 21 1396", ""))
    assert ratings.image_ids.tolist() == [953619, 953958]
    assert ratings.votes.tolist() == [[0, 1, 5, 17, 38, 36, 15, 6, 5, 1], [10, 7, 15, 26, 26, 21, 10, 8, 1, 2]]
    assert (ratings.image_ids.dtype, ratings.votes.dtype) == (np.int64, np.int32)


def test_a_folder_stands_for_the_list_in_it_and_line_ends_do_not_matter(tmp_path: Path) -> None:
    write_list(tmp_path, ROW + "\r", "\r", ROW.replace("953619", "7") + " \r", "\r")
    assert read_ratings(tmp_path).image_ids.tolist() == [953619, 7]


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ("2 7 1 2 3", "line 3: 5 columns instead of 15"),
        (ROW.replace("953619", "7") + " 9", "line 3: 16 columns instead of 15"),
        (ROW.replace("953619", "7").replace("38", "3x8"), "line 3: '3x8' is no whole number"),
        (ROW.replace("953619", "7").replace("38", "3.5"), "line 3: '3.5' is no whole number"),
        (ROW.replace("953619", "7").replace("38", "1e300"), "line 3: '1e300' is no whole number"),
        (ROW.replace("953619", "7").replace("38", "nan"), "line 3: 'nan' is no whole number"),
        (ROW.replace("953619", "7").replace("38", "-38"), "line 3: a negative number"),
        (ROW.replace("953619", "7").replace("38", "9" * 30), "line 3: a number that is too large"),
        (ROW.replace("953619", "7").replace("38", str(2**31)), "line 3: a number that is too large"),
        ("2 7 0 0 0 0 0 0 0 0 0 0 1 22 1396", "line 3: image 7 has no votes"),
        (ROW, "line 3: image 953619 was on line 1 already"),
        (ROW.replace("953619", "7").replace("38", "9" * 5000), "line 3: a number that is too large"),
        (ROW.replace("953619", "7").replace("38", "1_0"), "line 3: '1_0' is no whole number"),
        (ROW.replace("953619", "7").replace("38", "+-1"), "line 3: '+-1' is no whole number"),
        ("<html>é</html>", "is no whole number"),
        ("# a comment", "line 3: '#' is no whole number"),
    ],
)
@pytest.mark.filterwarnings("error")  # of numpy, which people would see beside the message
def test_a_malformed_row_is_named_by_its_line(row: str, fault: str, tmp_path: Path) -> None:
    path = write_list(tmp_path, ROW, "", row)
    with pytest.raises(RatingsError) as raised:
        read_ratings(path)
    assert str(raised.value).startswith(f"{path}: 1 malformed row in the AVA list: ")
    assert fault in str(raised.value)


def test_many_malformed_rows_are_counted_and_the_first_of_them_shown(tmp_path: Path) -> None:
    with pytest.raises(RatingsError, match=r"20 malformed rows .* line 2: .* line 6: .*\(and 15 more\)"):
        read_ratings(write_list(tmp_path, ROW, *["no row"] * 20))


@pytest.mark.parametrize("content", ["", "\n\n"])
def test_an_empty_list_is_an_error(content: str, tmp_path: Path) -> None:
    with pytest.raises(RatingsError, match="is empty"):
        read_ratings(write_list(tmp_path, content))


def test_a_missing_list_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RatingsError, match=r"AVA\.txt: cannot read the AVA list"):
        read_ratings(tmp_path)


@given(st.binary(max_size=300) | st.text("0123456789 -+_.\t\n\r\x0b\x1c", max_size=300).map(str.encode))
@settings(max_examples=100, deadline=None)
def test_any_bytes_are_a_list_or_one_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.txt"
    path.write_bytes(content)
    try:
        ratings = read_ratings(path)
    except RatingsError:
        return
    assert ratings.votes.shape == (len(ratings), 10)


def test_select_gives_rows_in_the_order_asked_for(tmp_path: Path) -> None:
    ratings = read_ratings(write_list(tmp_path, *(ROW.replace("953619", str(image)) for image in (5, 3, 9))))
    assert ratings.select([9, 5]).image_ids.tolist() == [9, 5]
    assert ratings.known([3, 4]).tolist() == [True, False]
    with pytest.raises(RatingsError, match=r"2 image ids have no ratings .* the first is 4"):
        ratings.select([9, 4, 6])


@needs_ava
def test_the_whole_of_ava_fits_in_little_memory() -> None:
    # The kernel's own peak of this program; getrusage would begin with that of the parent process.
    program = (
        "import sys\nfrom pathlib import Path\nfrom nima.ava.ratings_list import read_ratings\n"
        "rows = len(read_ratings(Path(sys.argv[1])))\n"
        "peak = Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0]\n"
        "print(rows, int(peak) // 1024)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(DATA)], capture_output=True, text=True, check=True)
    rows, mebibytes = map(int, done.stdout.split())
    assert rows == 249_828
    assert mebibytes < 500


# Splits.


def test_a_splits_hash_is_that_of_its_ids_in_ascending_order() -> None:
    split = Split.of([100, 3, 20, 3], "mine")
    # printf '3\n20\n100' | sha256sum
    assert split.hash == "1a25544d138cbe1ef0e4152f777457336886eb8f572f34487b70723108602278"
    assert split.image_ids.tolist() == [3, 20, 100]


@needs_ava
@pytest.mark.parametrize(
    ("file", "name", "images"),
    [("idealo_test.lst", "idealo", 25_551), ("aesthetics_image_lists/generic_test.jpgl", "official", 20_000)],
)
def test_published_splits_are_recognised(file: str, name: str, images: int) -> None:
    split = read_split(DATA / "lists" / file, expected=name)
    assert (split.name, len(split.image_ids)) == (name, images)


def test_another_list_is_not_taken_for_a_published_split(tmp_path: Path) -> None:
    write_image_ids(tmp_path / "mine.txt", [1, 2, 3])
    with pytest.raises(SplitError, match="is not the official test split: it has 3 ids"):
        read_split(tmp_path / "mine.txt", expected="official")


def test_comparing_across_splits_is_refused_by_name() -> None:
    mine, theirs = Split.of([1, 2], "mine"), Split.of([1, 3], "theirs")
    check_same_split(mine.name, mine.hash, "renamed", Split.of([2, 1], "renamed").hash)
    with pytest.raises(SplitError, match=r"'mine' .* do not compare with figures on 'theirs'"):
        check_same_split(mine.name, mine.hash, theirs.name, theirs.hash)


@given(st.sets(st.integers(0, 10**6), min_size=2, max_size=200), st.integers(0, 5), st.floats(0.05, 0.95))
def test_a_random_split_follows_from_ids_and_seed_alone(ids: set[int], seed: int, share: float) -> None:
    split = random_split(sorted(ids), seed, share)
    assert set(split.image_ids.tolist()) <= ids
    assert len(split.image_ids) == max(1, round(share * len(ids)))
    assert split.hash == random_split(sorted(ids, reverse=True), seed, share).hash


def test_another_seed_draws_another_split() -> None:
    assert random_split(range(1000), 0, 0.1).hash != random_split(range(1000), 1, 0.1).hash


def test_ids_are_read_back_as_written(tmp_path: Path) -> None:
    write_image_ids(tmp_path / "new" / "ids.txt", [5, 3, 9])
    assert read_image_ids(tmp_path / "new" / "ids.txt").tolist() == [5, 3, 9]
    (tmp_path / "labels.json").write_text('[{"image_id": "231893", "label": [1]}, {"image_id": 7}]')
    assert read_image_ids(tmp_path / "labels.json").tolist() == [231893, 7]
    (tmp_path / "names.txt").write_text("5.jpg\n\n 9 \n")
    assert read_image_ids(tmp_path / "names.txt").tolist() == [5, 9]


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("ids.txt", "1\n2\nx3\n", "line 3: 'x3' is no image id"),
        ("ids.txt", "1\n-2\n", "line 2: '-2' is no image id"),
        ("ids.txt", "9" * 40, "line 1: .* is no image id"),
        ("ids.json", "{", "no JSON list"),
        ("ids.json", '[{"id": 1}]', "no JSON list"),
    ],
)
def test_a_malformed_list_of_ids_is_an_error(name: str, content: str, complaint: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(SplitError, match=complaint):
        read_image_ids(tmp_path / name)
    with pytest.raises(SplitError, match="cannot read the list"):
        read_image_ids(tmp_path / "missing.txt")


def test_a_split_of_nothing_is_an_error() -> None:
    with pytest.raises(SplitError, match="no images"):
        Split.of([], "empty")


# The check of photos.


def test_missing_and_truncated_photos_are_found(tmp_path: Path) -> None:
    folder = make_ava_folder(tmp_path, images=12)
    ratings = read_ratings(folder)
    (folder / "images" / "1003.jpg").unlink()
    whole = (folder / "images" / "1005.jpg").read_bytes()
    (folder / "images" / "1005.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "images" / "1007.jpg").write_bytes(b"")
    seen: list[tuple[int, int]] = []
    report = check_photos(folder, ratings, threads=3, progress=lambda done, total: seen.append((done, total)))
    assert report.missing == [1003]
    assert set(report.unreadable) == {1005, 1007}
    assert "truncated" in report.unreadable[1005]
    assert report.clean == [image for image in range(1000, 1012) if image not in (1003, 1005, 1007)]
    assert report.known_bad == []
    assert seen == [(done, 12) for done in range(1, 13)]


def test_photos_that_are_bad_in_every_copy_are_told_apart(tmp_path: Path) -> None:
    ids = np.array(sorted(KNOWN_BAD_IDS))
    ratings = Ratings(ids, np.ones((len(ids), 10), dtype=np.int32))
    assert check_photos(tmp_path, ratings).known_bad == ids.tolist()


# Percentiles.


@given(st.floats(1, 10), st.floats(1, 10))
def test_percentiles_grow_with_the_score(one: float, other: float) -> None:
    assert (one <= other) <= (ava_percentile(one) <= ava_percentile(other))
    assert 0 <= ava_percentile(one) <= 100


@needs_ava
def test_percentiles_are_those_of_ava() -> None:
    votes = read_ratings(DATA).votes
    means = np.sort((votes @ np.arange(1, 11)) / votes.sum(axis=1))
    for score in np.linspace(1, 10, 400):
        assert ava_percentile(score) == pytest.approx(100 * np.searchsorted(means, score) / len(means), abs=0.3)
