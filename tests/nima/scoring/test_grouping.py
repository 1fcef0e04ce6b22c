"""Near-duplicates: which photos belong together, which is the best, and what the command does with them."""

from __future__ import annotations

import csv
import json
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from drawn_photos import picture
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from spread_model import save_spread_model

from nima.photos.appearance import Appearance
from nima.scoring.grouping import BURST_BITS, BURST_SECONDS, COPY_BITS, group_numbers, with_groups
from nima.scoring.score import Group, Score
from requestor.commands.main import main

NOON = datetime(2024, 5, 1, 12)


def seen(*differing: int, at: float | None = None) -> Appearance:
    """Makes the appearance of a photo whose hash has these bits set, taken so many seconds after noon."""
    return Appearance(sum(1 << bit for bit in differing), None if at is None else NOON + timedelta(seconds=at))


@st.composite
def photos(draw: st.DrawFn) -> list[Appearance]:
    """Draws photos of a few scenes, each changed in some bits, at times that are close enough to matter."""
    scenes = draw(st.lists(st.integers(0, 2**128 - 1), min_size=1, max_size=3))
    changes = st.sets(st.integers(0, 127), max_size=BURST_BITS + 3)
    times = st.none() | st.floats(0, 4 * BURST_SECONDS, allow_nan=False)
    drawn = draw(st.lists(st.tuples(st.sampled_from(scenes), changes, times), max_size=40))
    return [Appearance(scene ^ seen(*bits).hash, seen(at=at).taken) for scene, bits, at in drawn]


@given(photos())
def test_groups_are_what_pairs_connect(appearances: list[Appearance]) -> None:
    def together(one: Appearance, other: Appearance) -> bool:
        distance = (one.hash ^ other.hash).bit_count()
        if one.taken is not None and other.taken is not None:
            gap = abs((one.taken - other.taken).total_seconds())
            return distance <= (BURST_BITS if gap <= BURST_SECONDS else COPY_BITS)
        return distance <= COPY_BITS

    expected = list(range(len(appearances)))  # every photo alone at first; then photos that belong together are joined
    for _ in appearances:
        for one, first in enumerate(appearances):
            for other, second in enumerate(appearances):
                if together(first, second):
                    expected[one] = expected[other] = min(expected[one], expected[other])
    numbers = {group: number for number, group in enumerate(dict.fromkeys(expected), start=1)}
    assert group_numbers(appearances) == [numbers[group] for group in expected]


def test_time_decides_between_alike_and_not() -> None:
    alike = range(BURST_BITS)
    assert group_numbers([seen(at=0), seen(*alike, at=BURST_SECONDS)]) == [1, 1]
    assert group_numbers([seen(at=0), seen(*alike, at=BURST_SECONDS + 1)]) == [1, 2]
    assert group_numbers([seen(at=0), seen(*alike)]) == [1, 2]
    assert group_numbers([seen(), seen(*range(COPY_BITS))]) == [1, 1]
    assert group_numbers([seen(), seen(*range(COPY_BITS + 1))]) == [1, 2]
    assert group_numbers([]) == []


def test_the_best_is_the_first_of_the_highest_scores() -> None:
    def score(path: str, rating: int, looks: Appearance) -> Score:
        return Score.of(path, np.eye(10)[rating - 1], "model@0", 3, 2, looks)

    scores = [
        score("a", 5, seen()),
        Score.failed("b", "model@0", "b: broken."),
        score("c", 7, seen()),
        score("d", 9, seen(*range(64))),
        score("e", 7, seen()),
    ]
    groups = [one.group for one in with_groups(scores)]
    assert groups == [Group(1, 3, False), None, Group(1, 3, True), Group(2, 1, True), Group(1, 3, False)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Makes a folder of photos, a text and a model.

    The photos: a burst of three, a single one, and the burst's first again, small and without its date.
    """
    folder = tmp_path_factory.mktemp("photos")
    for number, (seed, second) in enumerate([(1, 0), (1, 1), (1, 2), (2, 3)]):
        exif = Image.Exif()
        exif.get_ifd(0x8769)[0x9003] = f"2024:05:01 12:30:0{second}"
        image = picture(seed, 320, 240).crop((4 * number, 3 * number, 300 + 4 * number, 220 + 3 * number))
        image.save(folder / f"{number}.jpg", exif=exif)
    Image.open(folder / "0.jpg").resize((160, 120)).save(folder / "small.jpg")
    (folder / "text.jpg").write_text("no photo")
    save_spread_model(folder / "model.safetensors")
    return folder


def score(folder: Path, *arguments: str | Path | float) -> Result:
    model = ("--model", folder / "model.safetensors")
    return CliRunner().invoke(main, ["score", *map(str, (folder, *model, *arguments))])


def rows_of(result: Result) -> list[dict[str, object]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_rows_have_their_group_in_every_format(folder: Path) -> None:
    rows = rows_of(score(folder, "--group", "--format", "jsonl"))
    assert [row["group"] for row in rows] == [1, 1, 1, 2, 1, None]
    burst = [row for row in rows if row["group"] == 1]
    assert [row["best"] for row in burst].count(True) == 1
    assert max(burst, key=lambda row: row["aesthetic_score"])["best"] is True
    assert rows[3]["best"] is True
    assert [row["taken"] for row in rows] == [*(f"2024-05-01T12:30:0{second}" for second in range(4)), None, None]
    assert json.loads(score(folder, "--group", "--format", "json").stdout) == rows
    table = list(csv.DictReader(score(folder, "--group", "--format", "csv").stdout.splitlines()))
    assert [row["group"] for row in table] == ["1", "1", "1", "2", "1", ""]
    assert [row["best"] == "True" for row in table] == [row["best"] is True for row in rows]
    assert score(folder, "--group").stdout.count("1, best of 4") == 1
    assert "group" not in score(folder, "--format", "csv").stdout


def test_the_best_of_each_group_are_what_is_chosen_from(folder: Path, tmp_path: Path) -> None:
    rows = rows_of(score(folder, "--group", "--format", "jsonl"))
    best = {row["path"] for row in rows if row["best"]}
    assert len(best) == 2
    two = score(folder, "--best-of-group", "--top", 2, "--copy-to", tmp_path / "best", "--format", "jsonl")
    assert {row["path"] for row in rows_of(two)} == best
    assert {path.name for path in (tmp_path / "best").iterdir()} == {Path(str(path)).name for path in best}
    worst = min(float(str(row["aesthetic_score"])) for row in rows if row["best"])
    enough = score(folder, "--best-of-group", "--min-score", worst + 1e-6, "--format", "jsonl")
    assert len(rows_of(enough)) == 1
