"""The cache of scores: known scores are not computed again, and nothing breaks the cache."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from drawn_photos import picture
from spread_model import save_spread_model

from nima.photos.appearance import Appearance
from nima.scoring.cache import CacheError, KnownScore, ScoreCache
from nima.scoring.score import Score
from nima.scoring.scorer import FeatureScorer, Scorer

KNOWN = KnownScore((0.1,) * 10, 30, 20)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "spread.safetensors"
    save_spread_model(path)
    return path


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{seed}.jpg" for seed in range(5)]
    for seed, path in enumerate(paths):
        picture(seed).save(path)
    return paths


def score(model: Path, cache: Path, photos: list[Path]) -> list[Score]:
    return list(Scorer(model, device="cpu", batch_size=2, cache=ScoreCache(cache)).score(photos))


def test_features_are_kept_beside_scores(model: Path, photos: list[Path], tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    without = score(model, cache, photos)
    first, second = (list(FeatureScorer(model, device="cpu", cache=ScoreCache(cache)).score(photos)) for _ in range(2))
    assert without == first == second
    for one, other in zip(first, second, strict=True):
        assert one.features is not None
        assert other.features is not None
        assert one.features.dtype == other.features.dtype == np.float16
        np.testing.assert_array_equal(one.features, other.features)
    assert all(one.features is None for one in without)


@pytest.mark.parametrize("more", [(), ("--group", "--html")], ids=["scores", "groups and a contact sheet"])
def test_a_second_run_opens_no_photo_and_says_the_same(
    more: tuple[str, ...], model: Path, photos: list[Path], tmp_path: Path
) -> None:
    program = (
        "import sys\nopened = []\n"
        "sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == 'open' else None)\n"
        "from requestor.commands.main import main\n"
        "main(sys.argv[1:], standalone_mode=False)\n"
        "print(sum(name.endswith('.jpg') for name in opened), file=sys.stderr)"
    )
    options = ["--model", str(model), "--cache", str(tmp_path / "cache"), "--format", "jsonl", "--quiet"]
    sheets = [[*more, str(tmp_path / name)] if more else [] for name in ("first.html", "second.html")]
    command = [sys.executable, "-c", program, "score", str(tmp_path), *options]
    first, second = (subprocess.run([*command, *m], capture_output=True, text=True, check=True) for m in sheets)
    assert first.stdout == second.stdout
    if more:
        assert (tmp_path / "first.html").read_bytes() == (tmp_path / "second.html").read_bytes()
    assert len(first.stdout.splitlines()) == len(photos)
    assert (int(first.stderr) >= len(photos), int(second.stderr)) == (True, 0)


def test_a_photo_that_changed_is_scored_again(model: Path, photos: list[Path], tmp_path: Path) -> None:
    before = score(model, tmp_path / "cache", photos)
    picture(99).save(photos[1])
    after = score(model, tmp_path / "cache", photos)
    assert [one == other for one, other in zip(before, after, strict=True)] == [True, False, True, True, True]


def test_a_photo_is_known_by_its_content_wherever_it_is(photos: list[Path], tmp_path: Path) -> None:
    cache = ScoreCache(tmp_path / "cache")
    file = cache.identify(photos[0])
    assert file is not None
    cache.add("model", [(file, KNOWN)])
    photos[0].rename(tmp_path / "renamed.jpg")
    renamed = cache.identify(tmp_path / "renamed.jpg")
    assert renamed is not None
    assert cache.find(renamed.sha256, "model") == KNOWN
    assert cache.find(renamed.sha256, "another model") is None


def test_another_model_has_scores_of_its_own(model: Path, photos: list[Path], tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    save_spread_model(other, seed=4)
    first = score(model, tmp_path / "cache", photos)
    assert score(other, tmp_path / "cache", photos) != first
    assert score(model, tmp_path / "cache", photos) == first


def test_what_photos_look_like_is_remembered_beside_their_scores(
    model: Path, photos: list[Path], tmp_path: Path
) -> None:
    def looks(**wanted: bool) -> list[Appearance | None]:
        scorer = Scorer(model, device="cpu", cache=ScoreCache(tmp_path / "cache"), **wanted)
        return [one.appearance for one in scorer.score(photos)]

    assert looks() == [None] * len(photos)
    plain = looks(appearance=True)  # from a cache that has the scores only
    with_thumbnails = looks(thumbnails=True)
    assert [replace(one, thumbnail=None) for one in with_thumbnails if one is not None] == plain
    for photo in photos:
        stamp = photo.stat()
        photo.write_bytes(b"x" * stamp.st_size)  # the file is no photo any more
        os.utime(photo, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    database = sqlite3.connect(tmp_path / "cache")
    with database:
        database.executemany(
            "UPDATE files SET ctime_ns = ? WHERE path = ?", [(p.stat().st_ctime_ns, os.fsencode(p)) for p in photos]
        )
    database.close()
    assert looks(appearance=True) == plain
    assert looks(thumbnails=True) == with_thumbnails


def test_a_photo_that_changes_while_it_is_scored_is_not_remembered(photos: list[Path], tmp_path: Path) -> None:
    cache = ScoreCache(tmp_path / "cache")
    file = cache.identify(photos[0])
    assert file is not None
    picture(99).save(photos[0])
    cache.add("model", [(file, KNOWN)])
    assert cache.find(file.sha256, "model") is None


def test_what_cannot_be_read_is_an_error_row_each_time(model: Path, photos: list[Path], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "text.jpg").write_text("no photo")
    mixed = [tmp_path / "pipe.jpg", photos[0], tmp_path / "none.jpg", tmp_path / "text.jpg"]
    for _ in range(2):
        rows = score(model, tmp_path / "cache", mixed)
        assert [row.error is None for row in rows] == [False, True, False, False]


def test_a_killed_run_leaves_a_valid_cache_and_the_next_goes_on(model: Path, tmp_path: Path) -> None:
    paths = [tmp_path / f"{seed:03}.png" for seed in range(60)]
    for seed, path in enumerate(paths):
        picture(seed, 60, 40).save(path)
    cache = tmp_path / "cache"
    command = [sys.executable, "-m", "requestor.commands.main", "score", str(tmp_path), "--model", str(model)]
    options = ["--cache", str(cache), "--format", "jsonl", "--batch-size", "2"]
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        seen = [json.loads(program.stdout.readline())["aesthetic_score"] for _ in range(7)]
        program.send_signal(signal.SIGKILL)
    database = sqlite3.connect(cache)
    assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    kept = database.execute("SELECT count(*) FROM scores").fetchone()[0]
    database.close()
    assert kept >= 7
    rows = score(model, cache, paths)
    assert [row.aesthetic_score for row in rows[:7]] == seen
    assert all(row.error is None for row in rows)


def test_a_file_that_is_no_cache_is_one_error_and_stays_as_it_is(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_bytes(b"not a database at all" * 100)
    other = tmp_path / "other.sqlite"
    database = sqlite3.connect(other)
    database.execute("CREATE TABLE theirs (name)")
    database.close()
    for path in (text, other, tmp_path / "no" / "folder"):
        content = path.read_bytes() if path.exists() else None
        with pytest.raises(CacheError, match=path.name):
            ScoreCache(path)
        assert (path.read_bytes() if path.exists() else None) == content
