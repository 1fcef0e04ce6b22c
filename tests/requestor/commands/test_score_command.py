"""Tests of `nima-golem score`, run as a program."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ava_folder import make_ava_folder
from click.testing import CliRunner, Result
from spread_model import save_spread_model

from nima.model import checkpoint
from nima.model.network import initial_model
from requestor.commands.main import main

KERAS = Path(__file__).resolve().parents[4] / "shared" / "data" / "nima" / "weights_mobilenet_aesthetic_0.07.hdf5"
COLUMNS = [
    *("path", "aesthetic_score", "std", "probabilities", "percentile", "stars"),
    *("population", "model", "width", "height", "error"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Makes a folder of three photos and other things: a text, a hidden photo, photos in subfolders and a circle of
    links.
    """
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


@pytest.fixture(scope="module")
def spread_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Makes an untrained model that gives each photo a different score."""
    path = tmp_path_factory.mktemp("model") / "spread.safetensors"
    save_spread_model(path)
    return path


def score(*arguments: str | Path | float) -> Result:
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
    assert "No photo was found" in result.stderr


def test_what_was_not_taken_is_on_stderr(folder: Path, model: Path) -> None:
    result = score(folder, f"{folder}/*.tif", "--model", model, "--format", "jsonl")
    assert result.exit_code == 1
    assert len(result.stdout.splitlines()) == 3
    assert "1 file passed over (.txt 1)\n" in result.stderr
    assert f"{folder}/*.tif: no file matches this pattern.\n" in result.stderr
    quiet = score(folder, "--model", model, "--format", "jsonl", "--quiet")
    assert (quiet.exit_code, quiet.stderr) == (0, "")


def test_the_table_shows_score_spread_percentile_and_histogram(folder: Path, model: Path) -> None:
    result = score(folder / "a.JPG", folder / "none.jpg", "--model", model)
    header, line, failed = result.stdout.splitlines()
    assert header.split()[:2] == ["score", "spread"]
    # An untrained model gives every rating the same probability.
    assert line.split() == ["5.50", "±2.87", "★★★☆☆", "above", "56%", "██████████", str(folder / "a.JPG")]
    assert "none.jpg: the file cannot be opened" in failed
    assert result.exit_code == 1


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
        command = [
            sys.executable,
            "-m",
            "requestor.commands.main",
            "score",
            odd,
            "--model",
            str(model),
            "--format",
            format_,
        ]
        done = subprocess.run(command, capture_output=True, check=False, env={**os.environ, "PYTHONUTF8": "1"})
        assert (done.returncode, done.stderr) == (0, b"")
    assert os.fsencode(json.loads(done.stdout)["path"]) == odd


def test_the_best_come_first_and_errors_last(folder: Path, spread_model: Path) -> None:
    arguments = (folder / "none.jpg", folder, "--model", spread_model, "--format", "jsonl")
    rows = [json.loads(line) for line in score(*arguments, "--sort", "score").stdout.splitlines()]
    scores = [row["aesthetic_score"] for row in rows[:-1]]
    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) == 3
    assert rows[-1]["error"] is not None
    best = score(*arguments, "--top", "1")
    assert [json.loads(line) for line in best.stdout.splitlines()] == rows[:1]
    assert best.exit_code == 1
    assert "1 of 4 photos could not be read" in best.stderr
    enough = score(*arguments, "--min-score", scores[1])
    assert {json.loads(line)["path"] for line in enough.stdout.splitlines()} == {row["path"] for row in rows[:2]}


def test_every_format_says_the_same(folder: Path, spread_model: Path, tmp_path: Path) -> None:
    arguments = (folder, folder / "none.jpg", "--model", spread_model)
    lines = score(*arguments, "--format", "jsonl").stdout.splitlines()
    rows = [json.loads(line) for line in lines]
    assert json.loads(score(*arguments, "--format", "json").stdout) == rows
    written = tmp_path / "scores.csv"
    to_file = score(*arguments, "--format", "csv", "--output", written)
    assert (to_file.stdout, to_file.exit_code) == ("", 1)
    with written.open(newline="", encoding="utf-8") as file:
        columns = list(csv.DictReader(file))
    assert [row["path"] for row in columns] == [row["path"] for row in rows]
    assert [float(row["p10"]) for row in columns[:3]] == [row["probabilities"][9] for row in rows[:3]]
    assert columns[3]["stars"] == ""
    assert columns[3]["error"] == rows[3]["error"]


def test_rows_come_while_photos_are_still_listed(folder: Path, model: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "requestor.commands.main",
        "score",
        "-",
        "--model",
        str(model),
        "--format",
        "jsonl",
    ]
    with subprocess.Popen([*command, "--batch-size", "1"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        for name in ("a.JPG", "b.jpg", "c.jpeg"):
            program.stdin.write(f"{folder / name}\n".encode())
            program.stdin.flush()
        first = json.loads(program.stdout.readline())  # stdin is still open
        program.stdin.close()
        rest = program.stdout.read().splitlines()
    assert first["path"] == str(folder / "a.JPG")
    assert len(rest) == 2


def test_a_list_may_have_names_with_line_breaks(folder: Path, model: Path, tmp_path: Path) -> None:
    odd = tmp_path / "two\nlines.jpg"
    odd.write_bytes((folder / "a.JPG").read_bytes())
    paths = f"{odd}\0{folder / 'b.jpg'}\0"
    arguments = ["score", "-", "-0", "--model", str(model), "--format", "jsonl"]
    result = CliRunner().invoke(main, arguments, input=paths)
    assert [json.loads(line)["path"] for line in result.stdout.splitlines()] == [str(odd), str(folder / "b.jpg")]
    assert result.exit_code == 0


def test_remarks_are_for_stderr_and_can_be_had_or_not(folder: Path, model: Path) -> None:
    arguments = (folder, folder / "none.jpg", "--model", model, "--format", "jsonl")
    assert score(*arguments, "--quiet").stderr == ""
    verbose = score(*arguments, "--verbose")
    assert verbose.stdout == score(*arguments).stdout
    assert "small@" in verbose.stderr
    assert "none.jpg: the file cannot be opened" in verbose.stderr
    assert "4 photos in" in verbose.stderr


def test_a_terminal_shows_progress_and_stdout_has_the_data_alone(folder: Path, model: Path, tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    command = [
        sys.executable,
        "-m",
        "requestor.commands.main",
        "score",
        str(folder),
        "--model",
        str(model),
        "--format",
        "jsonl",
    ]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=theirs, env={**os.environ, "TERM": "xterm"}
    ) as program:
        os.close(theirs)
        assert program.stdout is not None
        rows = [json.loads(line) for line in program.stdout]
        shown = b""
        with contextlib.suppress(OSError):  # Linux raises EIO at the end of a terminal
            while block := os.read(ours, 4096):
                shown += block
    os.close(ours)
    assert len(rows) == 3
    assert b"scoring" in shown
    assert b"3/3" in shown


def test_a_table_fits_its_terminal(folder: Path, model: Path, tmp_path: Path) -> None:
    long = tmp_path / ("名前" * 30 + ".jpg")
    long.write_bytes((folder / "a.JPG").read_bytes())
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "requestor.commands.main", "score", str(long), "--model", str(model)]
    done = subprocess.run(
        command, stdout=theirs, stderr=subprocess.DEVNULL, check=True, env={**os.environ, "COLUMNS": "80"}
    )
    os.close(theirs)
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    line = shown.splitlines()[1]
    assert done.returncode == 0
    assert line.endswith("名前.jpg")
    assert 78 <= sum(2 if character in "名前" else 1 for character in line) <= 80


def test_no_photos_at_all_is_a_wrong_call(model: Path) -> None:
    result = score("--model", model)
    assert result.exit_code == 2
    assert "or - to read a list of paths from stdin" in result.stderr


@pytest.mark.parametrize(
    ("output", "complaint"), [("best.jpg", "has the name of a photo"), ("no/such/folder.csv", "cannot be written")]
)
def test_an_output_that_cannot_be_is_one_error(output: str, complaint: str, folder: Path, model: Path) -> None:
    result = score(folder, "--model", model, "--output", folder / output)
    assert result.exit_code == 2
    assert complaint in result.stderr
    assert not (folder / output).exists()


def test_a_model_that_is_not_there_is_one_error(folder: Path) -> None:
    result = score(folder, "--model", "nowhere.safetensors")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "There is no model 'nowhere.safetensors'" in result.stderr
    assert "models list" in result.stderr


def test_off_line_and_without_the_default_model_it_says_what_to_do(folder: Path, tmp_path: Path) -> None:
    # A proxy on which nothing listens, and a pip that may not use any index: no network.
    offline = {"https_proxy": "http://127.0.0.1:9", "PIP_NO_INDEX": "1", "NIMA_GOLEM_CACHE": str(tmp_path)}
    command = [sys.executable, "-m", "requestor.commands.main", "score", str(folder / "a.JPG")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **offline})
    assert done.returncode == 1
    assert done.stdout == ""
    assert "nima-golem models import mobilenet_v1-ava FILE" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_second_score_imports_only_what_it_needs(folder: Path, model: Path) -> None:
    assert score(folder / "a.JPG", "--model", model).exit_code == 0  # the model is converted
    program = (
        "import sys\nfrom requestor.commands.main import main\n"
        f"main(['score', {str(folder / 'a.JPG')!r}, '--model', {str(model)!r}, '-q'], standalone_mode=False)\n"
        "print(sorted({'torch', 'onnx', 'asyncio', 'jinja2', 'urllib.request', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.skipif(not KERAS.exists(), reason="needs idealo's weights")
def test_the_default_model_scores_without_what_it_does_not_need(folder: Path, tmp_path: Path) -> None:
    program = (
        "import sys\nfrom requestor.commands.main import main\n"
        f"main(['models', 'import', 'mobilenet_v1-ava', {str(KERAS)!r}], standalone_mode=False)\n"
        "imported = set(sys.modules)\n"
        f"main(['score', {str(folder / 'a.JPG')!r}], standalone_mode=False)\n"
        "print(sorted({'torchvision', 'pandas', 'scipy', 'yapapi', 'rich.console', 'pillow_heif'} & set(sys.modules)))"
    )
    environment = {**os.environ, "NIMA_GOLEM_CACHE": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    imported, _, line, modules = done.stdout.splitlines()
    assert Path(imported).is_relative_to(tmp_path)
    assert line.endswith("a.JPG")
    assert modules == "[]"


def test_a_second_model_scores_in_columns_of_its_own(
    folder: Path, model: Path, spread_model: Path, tmp_path: Path
) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no photo")
    photos = [folder / "a.JPG", folder / "b.jpg", tmp_path / "broken.jpg"]
    cache = ("--cache", tmp_path / "scores.sqlite")
    alone = [
        [
            json.loads(line)
            for line in score(*photos, "--model", path, "--format", "jsonl", *cache).stdout.splitlines()[:3]
        ]
        for path in (spread_model, model)
    ]
    asked = (*photos, "--model", spread_model, "--second-model", model, *cache)
    for more in ((), ("--no-cache",)):  # of the cache, and of photos that are opened once for both
        done = score(*(option for option in asked if not more or option not in cache), *more, "--format", "jsonl")
        rows = [json.loads(line) for line in done.stdout.splitlines()[:3]]
        assert list(rows[0]) == [*COLUMNS, "second_score", "second_std", "second_model"]
        for row, first, second in zip(rows, *alone, strict=True):
            assert row["aesthetic_score"] == pytest.approx(first["aesthetic_score"])
            assert (row["path"], row["model"], row["error"]) == (first["path"], first["model"], first["error"])
            assert row["second_score"] == pytest.approx(second["aesthetic_score"])
        assert [row["second_model"] for row in rows] == [alone[1][0]["model"]] * 2 + [None]
    assert alone[0][0]["aesthetic_score"] != pytest.approx(alone[1][0]["aesthetic_score"])
    assert "second_score,second_std,second_model" in score(*asked, "--format", "csv").stdout.splitlines()[0]
    assert "small" in score(*asked).stdout.splitlines()[0]


def test_the_photos_that_a_sheet_kept_are_copied(folder: Path, model: Path, tmp_path: Path) -> None:
    marks = [
        {"path": str(folder / "a.JPG"), "stars": 4}, {"path": str(folder / "b.jpg"), "stars": -1},
        {"path": str(folder / "c.jpeg"), "stars": 1}, {"path": str(folder / "*"), "stars": 0},
    ]  # fmt: skip
    (tmp_path / "marks.json").write_text(json.dumps({"format": "nima-golem marks 1", "marks": marks}))
    asked = ("--from-sheet", tmp_path / "marks.json", "--model", model)
    assert score(*asked, "--copy-to", tmp_path / "best").exit_code == 0
    assert {path.name for path in (tmp_path / "best").iterdir()} == {"a.JPG", "c.jpeg"}
    assert "leave PHOTOS and --xmp out" in score(folder, *asked).stderr
    for path in (str(folder), str(folder / "*")):  # neither a folder nor a pattern is a photo
        (tmp_path / "marks.json").write_text(
            json.dumps({"format": "nima-golem marks 1", "marks": [{"path": path, "stars": 5}]})
        )
        done = score(*asked, "--copy-to", tmp_path / "none")
        assert (done.exit_code, (tmp_path / "none").exists()) == (1, False)
    (tmp_path / "marks.json").write_text("{}")
    assert "no list of marks" in score(*asked).stderr
