"""The wheels of an image: each is pinned with its hash, and pip refuses another one."""

from __future__ import annotations

import hashlib
import re
import zipfile
from pathlib import Path

import pytest

from requestor.errors import ImageError
from requestor.image_build.wheels import fetch_wheels

REQUIREMENTS = Path(__file__).resolve().parents[3] / "provider_image" / "requirements.txt"


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Makes a wheel that is the only one that pip finds."""
    path = tmp_path / "index" / "thing-1.0-py3-none-any.whl"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("thing.py", "")
        file.writestr("thing-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n")
        file.writestr("thing-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr("thing-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(path.parent))
    monkeypatch.setenv("NIMA_GOLEM_CACHE", str(tmp_path / "cache"))
    return path


def test_a_wheel_with_its_hash_is_taken_and_no_other(wheel: Path, tmp_path: Path) -> None:
    requirements = tmp_path / "requirements.txt"
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    requirements.write_text(f"# a comment\nthing==1.0 --hash=sha256:{digest}\n")
    assert [path.name for path in fetch_wheels(requirements).iterdir()] == [wheel.name]
    for refused in (f"thing==1.0 --hash=sha256:{'0' * 64}", "thing==1.0"):
        requirements.write_text(refused)
        with pytest.raises(ImageError, match="could not be fetched"):
            fetch_wheels(requirements)
    assert len(list((tmp_path / "cache" / "wheels").iterdir())) == 1


def test_every_wheel_of_the_image_is_pinned_with_its_hash() -> None:
    lines = [line for line in REQUIREMENTS.read_text().splitlines() if line and not line.startswith("#")]
    assert lines
    assert all(re.fullmatch(r"[a-z0-9-]+==[\d.]+( --hash=sha256:[0-9a-f]{64})+", line) for line in lines)
