"""Tries `nima-golem cache`: it lists what is kept, and removes that alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from run_commands import nima_golem

from requestor.commands.main import main


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Makes a cache with weights, scores, and a file of somebody else."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("NIMA_GOLEM_CACHE", str(folder))
    (folder / "weights").mkdir(parents=True)
    (folder / "weights" / "a.safetensors").write_bytes(bytes(1_500_000))
    (folder / "scores.sqlite").write_bytes(bytes(100))
    (folder / "scores.sqlite-wal").write_bytes(bytes(50))
    (folder / "mine.txt").touch()
    return folder


def test_it_lists_parts_sizes_and_folders(kept: Path) -> None:
    listed = json.loads(nima_golem("cache", "list", "--json").stdout)
    assert listed["folders"]["cache"] == str(kept)
    assert {part: size for part, size in listed["bytes"].items() if size} == {"weights": 1_500_000, "scores": 150}
    shown = nima_golem("cache", "list").stdout
    assert "weights  1.5  published weights, fetched" in shown
    assert str(kept) in shown


def test_it_clears_one_part_or_all_and_nothing_else(kept: Path) -> None:
    assert nima_golem("cache", "clear", "scores", "--yes").returncode == 0
    assert sorted(path.name for path in kept.iterdir()) == ["mine.txt", "weights"]
    assert nima_golem("cache", "clear", "--yes").stdout == "1.5 MB are free again.\n"
    assert [path.name for path in kept.iterdir()] == ["mine.txt"]
    assert "There is nothing" in nima_golem("cache", "clear").stdout


def test_it_asks_first(kept: Path) -> None:
    assert CliRunner().invoke(main, ["cache", "clear"], input="n\n").exit_code == 1
    assert (kept / "weights" / "a.safetensors").exists()


def test_a_link_is_removed_and_its_target_kept(kept: Path, tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "photo.jpg").touch()
    (kept / "onnx").symlink_to(tmp_path / "target")
    assert nima_golem("cache", "clear", "onnx", "--yes").returncode == 0
    assert not (kept / "onnx").is_symlink()
    assert (tmp_path / "target" / "photo.jpg").exists()
