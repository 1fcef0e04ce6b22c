"""The commands on the page about scoring run as they stand."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nima.weights.fetching import import_weights

REPOSITORY = Path(__file__).resolve().parents[2]
DATA = REPOSITORY.parent / "shared" / "data"
KERAS = DATA / "nima" / "weights_mobilenet_aesthetic_0.07.hdf5"
PAGE = (REPOSITORY / "docs" / "scoring.md").read_text("utf-8")
EXAMPLES = re.findall(r"^ {4}(.*nima-golem (?:score|models import) .*)$", PAGE, re.M)


@pytest.mark.skipif(not KERAS.exists(), reason="needs idealo's weights")
def test_every_command_on_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIMA_GOLEM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))  # models of the user's own
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    import_weights("mobilenet_v1-ava", KERAS)
    (tmp_path / "holiday" / "beach").mkdir(parents=True)
    for name in ("photo.jpg", "holiday/flower.jpg", "holiday/beach/flower.jpg"):
        shutil.copy(DATA / "photos" / "flower.jpg", tmp_path / name)
    # Both models of idealo are files of one form.
    shutil.copy(KERAS, tmp_path / "weights_mobilenet_technical_0.11.hdf5")
    assert len(EXAMPLES) >= 10
    for example in EXAMPLES:
        command = ["bash", "-o", "pipefail", "-c", example]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{example}: {done.stderr}"
    made = {path.name for path in tmp_path.iterdir()}
    assert made >= {"scores.jsonl", "scores.csv", "scores.sqlite", "best", "holiday.html", "kept"}
