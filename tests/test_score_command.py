"""`nima-golem score`, as a program."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ava_folder import make_ava_folder
from click.testing import CliRunner, Result

from nima import checkpoint
from nima.model import initial_model
from requestor.cli import main
from requestor.photo_files import photo_files
from requestor.score_table import histogram

KERAS = Path(__file__).resolve().parents[2] / "shared" / "data" / "nima" / "weights_mobilenet_aesthetic_0.07.hdf5"
COLUMNS = ["path", "aesthetic_score", "std", "probabilities", "percentile", "model", "width", "height", "error"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three photos, and what is none: a text, a hidden photo, photos further down and a circle of links."""
    folder = tmp_path_factory.mktemp("photos")
    images = make_ava_folder(folder / "made", images=5) / "images"
    for image, name in zip(sorted(images.iterdir()), ("b.jpg", "a.JPG", "c.jpeg", ".hidden.jpg"), strict=False):
        image.rename(folder / name)
    (folder / "notes.txt").write_text("no photo")
    (folder / "made" / "circle").symlink_to(folder)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "small.safetensors"
    checkpoint.save(path, initial_model("mobilenet_v1", None, seed=0), {"name": "small"})
    return path


def score(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["score", *map(str, arguments)])


def test_json_lines_have_a_row_for_each_photo_of_a_folder(folder: Path, model: Path) -> None:
    result = score(folder, "--model", model, "--format", "jsonl")
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.exit_code == 0
    assert [Path(row["path"]).name for row in rows] == ["a.JPG", "b.jpg", "c.jpeg"]
    for row in rows:
        assert list(row) == COLUMNS
        assert 1 <= row["aesthetic_score"] <= 10
        assert sum(row["probabilities"]) == pytest.approx(1)
        assert (row["width"], row["height"], row["error"]) == (320, 240, None)
        assert row["model"].startswith("small@")


def test_an_unreadable_photo_is_a_row_and_exit_code_1(folder: Path, model: Path) -> None:
    result = score(folder / "notes.txt", folder / "a.JPG", folder / "none.jpg", "--model", model, "--format", "jsonl")
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.exit_code == 1
    assert [row["error"] is None for row in rows] == [False, True, False]
    assert rows[0]["aesthetic_score"] is None
    assert "no photo in a known format" in rows[0]["error"]


def test_a_folder_without_photos_is_said_to_have_none(model: Path, tmp_path: Path) -> None:
    result = score(tmp_path, "--model", model, "--format", "jsonl")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "no photo there" in result.stderr


def test_the_table_shows_score_spread_percentile_and_histogram(folder: Path, model: Path) -> None:
    result = score(folder / "a.JPG", folder / "none.jpg", "--model", model)
    header, line, failed = result.stdout.splitlines()
    assert header.split()[:2] == ["score", "spread"]
    # An untrained model finds every rating as likely as any other.
    assert line.split() == ["5.50", "±2.87", "above", "56%", "██████████", str(folder / "a.JPG")]
    assert "none.jpg: the file cannot be opened" in failed
    assert result.exit_code == 1


def test_a_histogram_has_its_highest_bar_at_the_most_probable_rating() -> None:
    assert histogram((0.0, 0.0, 0.1, 0.2, 0.4, 0.2, 0.1, 0.0, 0.0, 0.0)) == "▁▁▃▅█▅▃▁▁▁"


def test_folders_are_walked_in_order_once_and_never_in_circles(folder: Path) -> None:
    paths = [folder / "c.jpeg", folder, folder / "a.JPG"]
    assert [path.name for path in photo_files(paths)] == ["c.jpeg", "a.JPG", "b.jpg"]
    deep = [path.relative_to(folder).as_posix() for path in photo_files([folder], recursive=True)]
    assert deep == ["a.JPG", "b.jpg", "c.jpeg", "made/images/1004.jpg"]


def test_a_name_cannot_write_to_the_terminal(folder: Path, model: Path, tmp_path: Path) -> None:
    evil = tmp_path / "red\x1b[31m\n.jpg"
    evil.write_bytes((folder / "a.JPG").read_bytes())
    result = score(evil, tmp_path / "\x1b]0;title\x07.jpg", "--model", model)
    assert "\x1b" not in result.stdout
    assert len(result.stdout.splitlines()) == 3


def test_a_name_that_is_no_unicode_is_scored(folder: Path, model: Path, tmp_path: Path) -> None:
    odd = os.path.join(os.fsencode(tmp_path), b"\xff\xfe.jpg")
    Path(os.fsdecode(odd)).write_bytes((folder / "a.JPG").read_bytes())
    for format_ in ("table", "jsonl"):
        command = [sys.executable, "-m", "requestor.cli", "score", odd, "--model", str(model), "--format", format_]
        done = subprocess.run(command, capture_output=True, check=False, env={**os.environ, "PYTHONUTF8": "1"})
        assert (done.returncode, done.stderr) == (0, b"")
    assert os.fsencode(json.loads(done.stdout)["path"]) == odd


def test_a_model_that_is_not_there_is_one_error(folder: Path) -> None:
    result = score(folder, "--model", "nowhere.safetensors")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "There is no model 'nowhere.safetensors'" in result.stderr
    assert "models list" in result.stderr


def test_off_line_and_without_the_default_model_it_says_what_to_do(folder: Path, tmp_path: Path) -> None:
    # A proxy that nobody listens on, and a pip that may not use any index: no network.
    offline = {"https_proxy": "http://127.0.0.1:9", "PIP_NO_INDEX": "1", "NIMA_GOLEM_CACHE": str(tmp_path)}
    command = [sys.executable, "-m", "requestor.cli", "score", str(folder / "a.JPG")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **offline})
    assert done.returncode == 1
    assert done.stdout == ""
    assert "nima-golem models import mobilenet_v1-ava FILE" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not KERAS.exists(), reason="needs idealo's weights")
def test_the_default_model_scores_without_what_it_does_not_need(folder: Path, tmp_path: Path) -> None:
    program = (
        "import sys\nfrom requestor.cli import main\n"
        f"main(['models', 'import', 'mobilenet_v1-ava', {str(KERAS)!r}], standalone_mode=False)\n"
        "imported = set(sys.modules)\n"
        f"main(['score', {str(folder / 'a.JPG')!r}], standalone_mode=False)\n"
        "print(sorted({'torchvision', 'pandas', 'scipy', 'yapapi', 'rich', 'pillow_heif'} & set(sys.modules)))"
    )
    environment = {**os.environ, "NIMA_GOLEM_CACHE": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    imported, _, line, modules = done.stdout.splitlines()
    assert Path(imported).is_relative_to(tmp_path)
    assert line.endswith("a.JPG")
    assert modules == "[]"
