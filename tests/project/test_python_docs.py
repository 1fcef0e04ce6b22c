"""The page about Python is what the docstrings say, and its example runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from ava_folder import make_ava_folder
from spread_model import save_spread_model

from scripts.docs.python_page import COMMAND, PAGE, python_page


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == python_page(), f"docs/python.md is out of date. Update it: {COMMAND}"


def test_the_program_that_scores_a_folder_prints_its_best_photos(tmp_path: Path) -> None:
    photos = make_ava_folder(tmp_path / "ava", images=12) / "images"
    (photos / "broken.jpg").write_bytes(b"no photo")
    save_spread_model(tmp_path / "model.safetensors")
    program = PAGE.parent / "examples" / "score_folder.py"
    command = [sys.executable, program, photos, tmp_path / "model.safetensors"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    scores = [float(line.split()[0]) for line in done.stdout.splitlines()]
    assert len(scores) == 10
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > scores[-1]
    assert "broken.jpg" in done.stderr
