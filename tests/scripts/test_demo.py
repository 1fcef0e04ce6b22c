"""The README's main command on a fresh machine: tiny-AVA, real daemons, real settlement, three providers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from decimal import Decimal
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.golem, pytest.mark.timeout(900)]


def environment(folder: Path) -> dict[str, str]:
    folders = {"NIMA_GOLEM_DEMO_DIR": str(folder / "demo"), "XDG_DATA_HOME": str(folder / "share")}
    smaller = {"NIMA_GOLEM_AVA_TINY_IMAGES": "480", "NIMA_GOLEM_TRAIN_HOURS": "0.001"}  # one round
    return os.environ | folders | smaller


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("main job")  # with a space, because users have such paths


@pytest.fixture(scope="module")
def output(folder: Path) -> str:
    done = subprocess.run(
        [ROOT / "scripts" / "demo"], env=environment(folder), capture_output=True, text=True, timeout=800
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def run(folder: Path, output: str) -> Path:
    return folder / "demo" / "run"


def test_the_model_ranks_test_photos_and_beats_a_constant_by_a_third(run: Path) -> None:
    metrics = json.loads((run / "summary.json").read_text())["metrics"]
    assert metrics["n"] >= 90
    assert metrics["srcc"] >= 0.75
    assert metrics["emd_r1"] <= metrics["constant_emd_r1"] * 2 / 3


def test_the_model_ranks_test_photos_by_how_much_people_disagree(run: Path) -> None:
    assert json.loads((run / "summary.json").read_text())["metrics"]["srcc_std"] >= 0.3


def test_three_providers_worked_within_the_budget(run: Path) -> None:
    summary = json.loads((run / "summary.json").read_text())
    assert len(summary["providers"]) == 3
    assert all(provider["tasks"] > 0 for provider in summary["providers"])
    assert (summary["strategy"], summary["rounds"], summary["ended_because"]) == ("auto", 1, "hours")
    assert 0 < summary["spent_glm"] <= summary["budget_glm"] == 2


@pytest.mark.usefixtures("chain_programs")
def test_the_chain_paid_each_provider_what_its_receipt_says_to_the_last_digit(folder: Path, run: Path) -> None:
    receipt = {p["name"]: Decimal(p["paid_glm"]) for p in json.loads((run / "receipt.json").read_text())["providers"]}
    settled = json.loads((folder / "demo" / "settlement.json").read_text())["providers"]
    assert {p["name"]: Decimal(p["wallet"]) for p in settled} == receipt


def test_each_shard_was_sent_to_a_provider_once(run: Path) -> None:
    published = [line for line in (run / "log.txt").read_text().splitlines() if "published with URL" in line]
    assert published, "the log says what was sent"
    clients = json.loads((run / "dataset.json").read_text())["clients"]
    for shard in (shard["sha256"] for client in clients for shard in client):
        assert sum(shard in line for line in published) == 1


def test_photos_are_scored_and_the_results_are_named(output: str, folder: Path) -> None:
    test_ids = (folder / "demo" / "tiny-ava" / "splits" / "test.txt").read_text().split()
    assert all(f"{image_id}.jpg" in output for image_id in test_ids[:3])
    for line in ("Model: ", "Report: ", "Receipt: "):
        path = next(text.split(maxsplit=1)[1] for text in output.splitlines() if text.startswith(line.strip()))
        assert Path(path).is_file()


def test_nothing_is_left_running(folder: Path, output: str) -> None:
    assert processes_of(folder) == []


def test_ctrl_c_stops_everything(folder: Path, output: str) -> None:
    run = folder / "demo" / "run"
    demo = subprocess.Popen(
        [ROOT / "scripts" / "demo"],
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while (run / "summary.json").exists() or not (run / "ledger.jsonl").exists():  # until the new run hires
        assert demo.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    for _ in range(2):  # a terminal sends it to all processes: once to finish the round, again to stop now
        os.killpg(demo.pid, signal.SIGINT)
        time.sleep(0.5)
    demo.communicate(timeout=90)
    assert demo.returncode != 0
    assert processes_of(folder) == []


def processes_of(folder: Path) -> list[str]:
    """Returns the command lines and environments of all living processes that name the folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            told = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        except OSError:
            continue
        if os.fsencode(folder) in told and int(process.name) != os.getpid():
            found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return found
