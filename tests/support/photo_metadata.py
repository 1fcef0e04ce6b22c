"""Runs exiftool, the program that most people read and write metadata of photos with."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

needs_exiftool = pytest.mark.skipif(shutil.which("exiftool") is None, reason="needs exiftool")


def exiftool(*arguments: str | Path) -> str:
    """Runs exiftool and returns what it prints."""
    return subprocess.run(["exiftool", *map(str, arguments)], check=True, capture_output=True, text=True).stdout


def metadata(path: Path) -> dict[str, object]:
    """Returns a file's metadata by name, as numbers where they are some. Fails if one is there twice."""
    found: dict[str, object] = json.loads(exiftool("-j", "-n", "-a", "-G4", path))[0]
    assert not [name for name in found if name.startswith("Copy") and name.endswith(":Rating")], found
    return {name.rpartition(":")[2]: value for name, value in found.items()}
