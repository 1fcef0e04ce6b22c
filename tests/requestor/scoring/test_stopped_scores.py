"""Ctrl-C while photos are scored: rows so far are written, and scores are kept unless that is switched off."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ava_folder import make_ava_folder
from click.testing import CliRunner, Result

from nima.model import checkpoint
from nima.model.network import initial_model
from nima.scoring.score import Score
from nima.scoring.scorer import Scorer
from requestor.commands.main import main


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_ava_folder(tmp_path_factory.mktemp("ava"), images=6) / "images"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "small.safetensors"
    checkpoint.save(path, initial_model("mobilenet_v1", None, seed=0), {"name": "small"})
    return path


def score(photos: Path, model: Path, *options: str | Path) -> Result:
    return CliRunner().invoke(main, ["score", str(photos), "--model", str(model), *map(str, options)])


@pytest.mark.parametrize("options", [("--format", "json", "--sort", "score"), ("--format", "jsonl")])
def test_rows_before_ctrl_c_are_written_and_not_copied(
    photos: Path, model: Path, options: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Scorer.score

    def cut_short(scorer: Scorer, files: Any) -> Iterator[Score]:
        for number, one in enumerate(whole(scorer, files)):
            if number == 4:
                raise KeyboardInterrupt
            yield one

    monkeypatch.setattr(Scorer, "score", cut_short)
    rows = tmp_path / "rows"
    result = score(photos, model, *options, "--output", rows, "--copy-to", tmp_path / "best")
    assert result.exit_code == 130
    assert "The rows so far are written." in result.stderr
    text = rows.read_text()
    found = json.loads(text) if "json" in options else [json.loads(line) for line in text.splitlines()]
    assert len(found) == 4
    if "--sort" in options:  # the best of all photos are not known
        assert not (tmp_path / "best").exists()


def test_scores_are_kept_by_default_and_not_with_no_cache(
    photos: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cache").mkdir()
    monkeypatch.setenv("NIMA_GOLEM_CACHE", str(tmp_path / "cache"))
    expected = score(photos, model, "--format", "jsonl", "--no-cache").stdout
    assert not (tmp_path / "cache" / "scores.sqlite").exists()
    assert score(photos, model, "--format", "jsonl").stdout == expected
    monkeypatch.setattr(Scorer, "predict", lambda scorer, images: pytest.fail("a photo is scored again"))
    for runtime in ("onnx", "torch"):  # both give the same scores
        assert score(photos, model, "--format", "jsonl", "--runtime", runtime).stdout == expected


def test_a_default_cache_that_cannot_be_used_stops_nobody(
    photos: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIMA_GOLEM_CACHE", str(tmp_path))
    (tmp_path / "scores.sqlite").write_text("this is another file")
    result = score(photos, model, "--format", "jsonl")
    assert (result.exit_code, len(result.stdout.splitlines())) == (0, 6)
    assert "Scores are not kept" in result.stderr
    named = score(photos, model, "--cache", tmp_path / "scores.sqlite")
    assert named.exit_code == 1
