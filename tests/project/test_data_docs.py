"""The commands on the page about data run as they stand, on drawn samples."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from listed_photos import draw_photos
from published_samples import SAMPLES

from nima.xmp import NEW_XMP, with_property
from requestor.commands.main import main

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "data.md").read_text("utf-8")
COMMANDS = re.findall(r"^ {4}nima-golem (ava .*)$", PAGE, re.M)
FOLDERS = {"KonIQ-10k": "koniq10k", "SPAQ": "SPAQ", "AADB": "AADB", "EVA": "eva-dataset", "PARA": "PARA",
           "TAD66K": "TAD66K"}  # fmt: skip


def draw_sources(folder: Path) -> None:
    draw_photos(folder / "photos", "a.jpg", "b.jpg", "c.jpg")
    for stars, name in enumerate("abc", start=3):
        (folder / "photos" / f"{name}.jpg.xmp").write_bytes(with_property(NEW_XMP, "Rating", str(stars)))
        shutil.copy(folder / "photos" / f"{name}.jpg", folder)
    (folder / "votes.csv").write_text("path,c1,c2,c3,c4,c5\na.jpg,1,2,3,2,1\nb.jpg,0,0,0,0,9\n")
    (folder / "means.csv").write_text("path,mean,std\na.jpg,70,11\nb.jpg,20.5,9\n")
    (folder / "lists").mkdir()
    (folder / "lists" / "stars.csv").write_text("path,stars\na.jpg,5\nb.jpg,1\n")
    for name, (draw, _, _) in SAMPLES.items():
        draw(folder / FOLDERS[name])


def test_every_command_on_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw_sources(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert len(COMMANDS) >= 12
    for command in COMMANDS:
        result = CliRunner().invoke(main, shlex.split(command))
        assert result.exit_code == 0, f"{command}: {result.output}"
    made = {path.parent.name for path in tmp_path.glob("*/AVA.txt")}
    assert made == {"mine", "crowd", "means", "stars", "koniq", "spaq", "aadb", "eva", "para", "tad"}
