"""The cache of scores: what is known is not computed again, and nothing breaks it."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from drawn_photos import picture
from spread_model import save_spread_model

from nima.score import Score
from nima.score_cache import CacheError, KnownScore, ScoreCache
from nima.scoring import Scorer

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


def test_a_second_run_opens_no_photo_and_says_the_same(model: Path, photos: list[Path], tmp_path: Path) -> None:
    program = (
        "import sys\nopened = []\n"
        "sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == 'open' else None)\n"
        "from requestor.cli import main\n"
        "main(sys.argv[1:], standalone_mode=False)\n"
        "print(sum(name.endswith('.jpg') for name in opened), file=sys.stderr)"
    )
    options = ["--model", str(model), "--cache", str(tmp_path / "cache"), "--format", "jsonl"]
    command = [sys.executable, "-c", program, "score", str(tmp_path), *options]
    first, second = (subprocess.run(command, capture_output=True, text=True, check=True) for _ in range(2))
    assert first.stdout == second.stdout
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
    command = [sys.executable, "-m", "requestor.cli", "score", str(tmp_path), "--model", str(model)]
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
