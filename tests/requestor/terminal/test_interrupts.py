"""Ctrl-C in a pseudo-terminal for commands that hire nobody: they end with 130, and say what is kept."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import pytest
from ava_folder import make_ava_folder
from pseudo_terminal import PseudoTerminal

from nima.model import checkpoint
from nima.model.network import initial_model
from requestor.image_build.builders import BUILDERS
from requestor.image_build.wheels import _pins

ROOT = Path(__file__).resolve().parents[3]


def many_photos(folder: Path, photos: int) -> Path:
    """Makes a folder in AVA's layout with many names of one photo."""
    make_ava_folder(folder, images=1, tested=1)
    row = (folder / "AVA.txt").read_text().split()
    for number in range(1, photos):
        os.link(folder / "images" / "1000.jpg", folder / "images" / f"{1000 + number}.jpg")
    rows = (" ".join([str(number + 1), str(1000 + number), *row[2:]]) for number in range(photos))
    (folder / "AVA.txt").write_text("\n".join(rows) + "\n")
    return folder


def stop(terminal: PseudoTerminal, when: str, kept: str) -> None:
    """Presses Ctrl-C when a text was written; checks that the command ends with 130, and says what is kept."""
    terminal.wait_for(when)
    terminal.press_ctrl_c()
    assert terminal.exit_code(60) == 130, terminal.shown[-2000:]
    assert kept in " ".join(terminal.shown.split()), terminal.shown[-2000:]
    assert "Traceback" not in terminal.shown


def test_score(tmp_path: Path) -> None:
    many_photos(tmp_path / "ava", 600)
    checkpoint.save(tmp_path / "m.safetensors", initial_model("mobilenet_v3_small", None, seed=1), {})
    command = ["score", "ava/images", "--model", "m.safetensors", "--format", "jsonl"]
    with PseudoTerminal.running(command, tmp_path) as terminal:
        stop(
            terminal,
            '"aesthetic_score"',
            "Stopped. The rows so far are written. Scores are kept, unless --no-cache is given",
        )


def test_ava_check(tmp_path: Path) -> None:
    many_photos(tmp_path / "ava", 4000)
    with PseudoTerminal.running(["ava", "check", "ava"], tmp_path) as terminal:
        stop(terminal, "Checking", "Stopped. Files that were finished are kept.")
    assert not (tmp_path / "ava" / "clean.txt").exists()


@pytest.mark.skipif(shutil.which("mksquashfs") is None, reason="needs squashfs-tools")
def test_image_build(tmp_path: Path) -> None:
    builder = tmp_path / "bin" / BUILDERS[0]
    builder.parent.mkdir()
    builder.write_text('#!/bin/sh\ncase "$1" in version) exit 0;; build) exec sleep 60;; *) exit 1;; esac\n')
    builder.chmod(0o755)
    pins = hashlib.sha256("\n".join(_pins(ROOT / "provider_image" / "requirements.txt")).encode()).hexdigest()[:16]
    (tmp_path / "cache" / "wheels" / pins).mkdir(parents=True)
    environment = {"PATH": f"{builder.parent}:{os.environ['PATH']}", "NIMA_GOLEM_CACHE": str(tmp_path / "cache")}
    with PseudoTerminal.running(["image", "build"], tmp_path, environment) as terminal:
        stop(terminal, f"Building with {builder.name}", "Stopped. An image is written when it is finished, so none")
    assert not (tmp_path / "provider.gvmi").exists()


@pytest.mark.golem
def test_devnet_up(tmp_path: Path, devnets_home: Path) -> None:
    with PseudoTerminal.running(["devnet", "up", "--name", "stopped", "--providers", "1"], tmp_path) as terminal:
        stop(terminal, "daemons of the requestor", "The devnet is stopped. Its logs are kept in ")
    assert (devnets_home / "nima-golem" / "devnets" / "stopped" / "logs").is_dir()
