"""`requestor.scoring` from Python: a request is carried out without the command line."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from drawn_photos import picture
from spread_model import save_spread_model

from requestor.scoring import ScoreRequest, run


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "spread.safetensors"
    save_spread_model(path)
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Draws three photos, one of them in a subfolder."""
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    for seed, name in enumerate(("a.jpg", "b.jpg", "more/c.jpg")):
        picture(seed, 64, 48).save(folder / name)
    return folder


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_request_writes_rows_and_a_sheet_and_copies_the_photos(photos: Path, model: Path, tmp_path: Path) -> None:
    written, sheet, best = tmp_path / "scores.csv", tmp_path / "sheet.html", tmp_path / "best"
    request = ScoreRequest(
        photos=(str(photos),), recursive=True, model=str(model), format="csv", output=written, sort="score",
        top=2, html=sheet, copy_to=best, quiet=True,
    )  # fmt: skip
    code = run(request)
    scores = [float(row["aesthetic_score"]) for row in rows(written)]
    assert code == 0
    assert len(scores) == 2
    assert scores == sorted(scores, reverse=True)
    assert sorted(path.name for path in best.iterdir()) == sorted(Path(row["path"]).name for row in rows(written))
    assert sheet.exists()


def test_a_request_reads_a_list_of_paths(photos: Path, model: Path, tmp_path: Path) -> None:
    paths = tmp_path / "paths"
    paths.write_bytes(f"{photos / 'b.jpg'}\0{photos / 'none.jpg'}\0".encode())
    written = tmp_path / "scores.csv"
    with paths.open("rb") as stream:
        request = ScoreRequest(
            path_list=stream, separator=b"\0", model=str(model), format="csv", output=written, quiet=True
        )
        code = run(request)
    assert code == 1
    assert [Path(row["path"]).name for row in rows(written)] == ["b.jpg", "none.jpg"]
    assert [bool(row["error"]) for row in rows(written)] == [False, True]
