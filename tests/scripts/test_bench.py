"""`scripts/bench`: small benchmarks run and write their files; the figures in docs/benchmarks/ were measured."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
KEPT = sorted((ROOT / "docs" / "benchmarks").glob("*.json"))
sys.path.insert(0, str(ROOT / "scripts" / "benchmarks"))

from pages import SHOWN, page, plot  # noqa: E402


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / "bench"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.timeout(600)
def test_small_benchmarks_leave_figures_a_plot_and_a_page(tmp_path: Path) -> None:
    done = bench("--quick", "federated", "robustness", "gftp", "--output", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    made = {name: json.loads((tmp_path / f"{name}.json").read_text()) for name in ("federated", "robustness", "gftp")}
    gaps = {(gap["placement"], gap["clients"], gap["wire"]): gap for gap in made["federated"]["figures"]["gaps"]}
    assert len(gaps) == 2 * 2 * 3
    assert gaps["iid", 4, "int8"]["bytes"] < 0.6 * gaps["iid", 4, "fp16"]["bytes"]
    spoilt = next(row for row in made["robustness"]["figures"]["rows"] if row["fault"] == "nan")
    assert spoilt["admitted"]["emd"] is not None  # a model that works; without admission it would not
    assert spoilt["averaged"]["emd"] is None
    for name, result in made.items():
        assert result["command"].startswith("python scripts/benchmarks/")
        assert result["machine"]["torch"]
        assert result["question"] in done.stdout
        assert (tmp_path / f"{name}.svg").read_text().startswith("<?xml")
        assert f"![{name}]({name}.svg)" in (tmp_path / "README.md").read_text()


def test_benchmarks_are_listed_and_a_wrong_name_is_an_error() -> None:
    assert [line.split()[0] for line in bench().stdout.splitlines()] == list(SHOWN)
    wrong = bench("speed")
    assert wrong.returncode == 2
    assert "there is no benchmark speed" in wrong.stderr


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_a_result_that_is_kept_can_be_drawn(path: Path, tmp_path: Path) -> None:
    plot(path.stem, json.loads(path.read_text())["figures"], tmp_path / "again.svg")
    assert path.with_suffix(".svg").exists()


def test_the_page_is_made_of_the_results_that_are_kept() -> None:
    assert (ROOT / "docs" / "benchmarks" / "README.md").read_text() == page(ROOT / "docs" / "benchmarks")
