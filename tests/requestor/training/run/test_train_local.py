"""`nima-golem train --backend local`: the whole pipeline with the real provider program, without Golem."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from ava_folder import make_ava_folder
from run_commands import nima_golem, runs, wait_for

from nima.ava.splits import read_split
from nima.model import checkpoint
from requestor.records.ledger import Ledger


@pytest.fixture(scope="module")
def ava(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_ava_folder(tmp_path_factory.mktemp("data") / "ava")


def command(ava: Path, run_dir: Path, *more: str) -> list[str]:
    options = ["--budget", "2GLM", "--backend", "local", "--workers", "2", "--run-dir", str(run_dir)]
    options += ["--strategy", "federate", "--rounds", "2"]
    options += ["--aggregation", "momentum"]  # it has a state that must also outlive the process
    return [sys.executable, "-m", "requestor.commands.main", "train", "--ava", str(ava), *options, "--json", *more]


def train(ava: Path, run_dir: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(ava, run_dir, *more), capture_output=True, text=True, timeout=250)


def ask(ava: Path, run_dir: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Gives the command where it trains nothing, so that no new process is needed."""
    return nima_golem(*command(ava, run_dir, *more)[3:])


@pytest.fixture(scope="module")
def finished(ava: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    run_dir = tmp_path_factory.mktemp("runs") / "run"
    return train(ava, run_dir), run_dir


def test_the_last_line_is_the_summary(finished: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    done, run_dir = finished
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout.splitlines()[-1])
    assert summary["backend"] == "local"
    assert summary["rounds"] == 2
    assert summary["budget_glm"] == 2
    assert summary["spent_glm"] == 0
    assert summary["run_dir"] == str(run_dir)
    measured = {"srcc", "lcc", "srcc_std", "lcc_std", "emd_r1", "emd_r2", "constant_emd_r1", "n"}
    assert set(summary["metrics"]) == measured
    assert summary["metrics"]["n"] == 10
    # Two rounds of two clients, and the test photos in two shards.
    assert sum(provider["tasks"] for provider in summary["providers"]) == 6


def test_people_are_told_intervals_and_the_constant(
    ava: Path, finished: tuple[subprocess.CompletedProcess[str], Path]
) -> None:
    summary = json.loads(finished[0].stdout.splitlines()[-1])
    told = nima_golem(*(part for part in command(ava, finished[1])[3:] if part != "--json")).stdout
    low, high = summary["intervals"]["srcc_mean"]
    assert f"SRCC {summary['metrics']['srcc']:.3f} ({low:.3f} … {high:.3f})" in told
    assert f"EMD of a constant: {summary['metrics']['constant_emd_r1']:.3f} (" in told
    low, high = summary["intervals"]["srcc_std"]
    assert f"raters disagree): {summary['metrics']['srcc_std']:.3f} ({low:.3f} … {high:.3f})" in told


def test_the_model_says_how_it_was_made(finished: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    done, run_dir = finished
    model, metadata = checkpoint.load(run_dir / "model.safetensors")
    summary = json.loads(done.stdout.splitlines()[-1])
    assert model.backbone == metadata["backbone"] == "mobilenet_v2"
    assert metadata["rounds"] == 2
    assert metadata["metrics"]["srcc_mean"] == summary["metrics"]["srcc"]
    assert len(metadata["history"]) == 2
    assert len(metadata["score_quantiles"]) == 101
    assert metadata["dataset"] == json.loads((run_dir / "data.json").read_text())
    assert (metadata["starting_weights"], len(metadata["starting_weights_sha256"])) == ("mobilenet_v2-imagenet", 64)
    assert metadata["licence"] in ("BSD-3-Clause", "MIT")  # depends on which weights could be fetched


def test_every_checkpoint_and_every_evaluation_names_the_split(
    ava: Path, finished: tuple[subprocess.CompletedProcess[str], Path]
) -> None:
    done, run_dir = finished
    split = {"name": "test", "hash": read_split(ava / "splits" / "test.txt").hash}
    for path in (
        run_dir / "model.safetensors",
        *(run_dir / "rounds" / f"000{number}.safetensors" for number in (1, 2)),
    ):
        assert checkpoint.read_metadata(path)["split"] == split
    assert json.loads((run_dir / "evaluation.json").read_text())["split"] == split
    assert json.loads(done.stdout.splitlines()[-1])["split"] == split


def test_the_folder_holds_report_receipt_and_predictions(
    finished: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    _, run_dir = finished
    report = (run_dir / "report.html").read_text()
    assert "Finished" in report
    assert "local-1" in report
    assert report.count("data:image/jpeg;base64,") == 3 * 6
    assert json.loads((run_dir / "receipt.json").read_text())["spent_glm"] == "0"
    header, *rows = (run_dir / "predictions.csv").read_text().splitlines()
    assert header == "image_id," + ",".join(f"p{i}" for i in range(1, 11))
    assert [int(row.split(",")[0]) for row in rows] == list(range(1000, 1010))
    assert list((run_dir / "inbox").iterdir()) == []


def test_a_finished_run_is_not_trained_again(
    ava: Path, finished: tuple[subprocess.CompletedProcess[str], Path]
) -> None:
    done, run_dir = finished
    again = ask(ava, run_dir)
    assert again.returncode == 0
    assert "is finished" in again.stderr
    assert again.stdout == done.stdout


def test_another_run_in_the_same_folder_is_refused(
    ava: Path, finished: tuple[subprocess.CompletedProcess[str], Path]
) -> None:
    again = ask(ava, finished[1], "--seed", "7")
    assert again.returncode == 1
    assert "--seed was 0 and is now 7" in again.stderr


def test_an_estimate_spends_nothing_and_names_its_assumptions(ava: Path, tmp_path: Path) -> None:
    done = ask(ava, tmp_path / "run", "--estimate")
    assert done.returncode == 0, done.stderr
    estimate = json.loads(done.stdout)
    assert 0 < estimate["glm"] < 2
    assert estimate["glm"] == pytest.approx(sum(stage["glm"] for stage in estimate["stages"]))
    assert "uplink" in estimate["assumptions"]
    assert not (tmp_path / "run").exists()


def test_runs_are_listed_shown_and_resumed(finished: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    done, run_dir = finished
    (row,) = map(json.loads, runs("list", "--root", str(run_dir.parent), "--json").stdout.splitlines())
    assert (row["run"], row["state"], row["rounds"], row["backend"]) == (str(run_dir), "finished", "2/2", "local")
    shown = runs("show", str(run_dir)).stdout
    assert "finished" in shown
    assert str(run_dir / "report.html") in shown
    resumed = runs("resume", str(run_dir), "--json")
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stdout == done.stdout


def test_a_report_is_written_anew(finished: tuple[subprocess.CompletedProcess[str], Path], tmp_path: Path) -> None:
    run_dir = tmp_path / "copy"
    shutil.copytree(finished[1], run_dir)
    (run_dir / "report.html").unlink()
    assert runs("report", str(run_dir)).stdout == f"{run_dir / 'report.html'}\n"
    assert (run_dir / "report.html").read_bytes() == (finished[1] / "report.html").read_bytes()
    refused = runs("report", str(tmp_path))
    assert refused.returncode == 1
    assert "holds no training run" in refused.stderr


def test_a_run_that_may_owe_money_is_not_removed_without_force(
    finished: tuple[subprocess.CompletedProcess[str], Path], tmp_path: Path
) -> None:
    run_dir = tmp_path / "copy"
    shutil.copytree(finished[1], run_dir)
    Ledger(run_dir / "ledger.jsonl").record("allocation", id="a1", amount=Decimal(2))
    refused = runs("rm", str(run_dir))
    assert refused.returncode == 1
    assert "may still owe money" in refused.stderr
    assert run_dir.exists()
    assert runs("rm", str(run_dir), "--force").returncode == 0
    assert not run_dir.exists()


def test_a_folder_without_a_run_is_said_to_be_one(tmp_path: Path) -> None:
    done = runs("show", str(tmp_path))
    assert done.returncode == 1
    assert "holds no training run" in done.stderr


def test_ctrl_c_stops_cleanly_and_leaves_no_process(ava: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    running = subprocess.Popen(
        command(ava, run_dir),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ | {"TMPDIR": str(tmp_path)},  # its workers' folder, to tell them from others'
    )
    wait_for(run_dir / "base.json", running)
    os.kill(running.pid, signal.SIGINT)
    os.kill(running.pid, signal.SIGINT)
    _, stderr = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "the same command goes on" in stderr
    assert "Traceback" not in stderr
    assert [name for name in commands_running() if str(tmp_path) in name] == []


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda ava: (ava / "AVA.txt").unlink(), "AVA.txt does not exist"),
        (lambda ava: (ava / "AVA.txt").write_text("1 2 3\n"), "line 1"),
        (lambda ava: [path.unlink() for path in (ava / "images").iterdir()], "missing or unreadable"),
        (lambda ava: (ava / "splits" / "test.txt").write_text("999999\n"), "None of the test ids"),
    ],
)
def test_bad_data_is_one_clear_error(damage, complaint: str, tmp_path: Path) -> None:
    broken = make_ava_folder(tmp_path / "ava", images=30)
    damage(broken)
    done = ask(broken, tmp_path / "run")
    assert done.returncode != 0
    assert complaint in done.stderr


def test_a_few_unreadable_photos_are_named_and_left_out(tmp_path: Path) -> None:
    damaged = make_ava_folder(tmp_path / "ava")
    (damaged / "images" / "1001.jpg").write_bytes(b"no photo")
    (damaged / "images" / "1020.jpg").unlink()
    done = train(damaged, tmp_path / "run", "--rounds", "1")
    assert done.returncode == 0, done.stderr
    assert "1001.jpg" in done.stderr
    assert "1020.jpg" in done.stderr
    assert json.loads(done.stdout)["metrics"]["n"] == 9


def commands_running() -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return found
