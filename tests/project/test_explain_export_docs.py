"""The commands on the page about explaining and exporting run as they stand."""

from __future__ import annotations

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
PAGE = (REPOSITORY / "docs" / "explain-export-serve.md").read_text("utf-8")
EXAMPLES = re.findall(r"^ {4}nima-golem (.*)$", PAGE, re.M)


@pytest.mark.skipif(not KERAS.exists(), reason="needs idealo's weights")
def test_every_command_on_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIMA_GOLEM_CACHE", str(tmp_path / "cache"))
    import_weights("mobilenet_v1-ava", KERAS)
    shutil.copy(DATA / "photos" / "flower.jpg", tmp_path / "photo.jpg")
    assert len(EXAMPLES) == 3
    for example in EXAMPLES:
        command = [sys.executable, "-m", "requestor.commands.main", *example.split()]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{example}: {done.stderr}"
    made = {path.name for path in tmp_path.iterdir() if path.is_file()}
    assert made == {"photo.jpg", "why.jpg", "mobilenet_v1-ava.onnx", "mobilenet_v1-ava.pt"}
