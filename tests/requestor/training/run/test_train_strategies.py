"""`nima-golem train` with every strategy that begins with features: the whole pipeline, on local subprocesses."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from ava_folder import make_ava_folder
from run_commands import nima_golem, runs, wait_for

from nima.model import checkpoint
from nima.tiny_ava import draw_tiny_ava
from nima.wire.shards import read_shard
from requestor.training.strategies import DEFAULT_STRATEGY, STRATEGIES

ROOT = Path(__file__).resolve().parents[4]
PAGE = (ROOT / "docs" / "strategies.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^ {4}(nima-golem train .*)$", PAGE, re.MULTILINE)


@pytest.fixture(scope="module")
def ava(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_ava_folder(tmp_path_factory.mktemp("data") / "ava")


def command(ava: Path, run_dir: Path, *more: str) -> list[str]:
    options = ["--budget", "2GLM", "--backend", "local", "--workers", "2", "--run-dir", str(run_dir), "--json"]
    return [sys.executable, "-m", "requestor.commands.main", "train", "--ava", str(ava), *options, *more]


def train(ava: Path, run_dir: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(ava, run_dir, *more), capture_output=True, text=True, timeout=250)


class Finished:
    """A run that ended well."""

    def __init__(self, done: subprocess.CompletedProcess[str], run_dir: Path) -> None:
        assert done.returncode == 0, done.stderr
        self.done, self.run_dir = done, run_dir
        self.summary: dict[str, Any] = json.loads(done.stdout)
        self.lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
        self.base, _ = checkpoint.load(next(iter(run_dir.glob(f"store/{self._base_hash()}.safetensors"))))
        self.model, self.metadata = checkpoint.load(run_dir / "model.safetensors")

    def _base_hash(self) -> str:
        return str(json.loads((self.run_dir / "base.json").read_text())["sha256"])

    def shards_with_votes(self) -> list[str]:
        """Returns the shards to train on that hold votes."""
        clients = json.loads((self.run_dir / "dataset.json").read_text())["clients"]
        names = [shard["sha256"] for client in clients for shard in client]
        assert names
        return [n for n in names if read_shard(self.run_dir / "store" / f"{n}.safetensors").votes is not None]

    def changed(self) -> set[str]:
        """Returns the parameters in which the model differs from the initial one."""
        before = self.base.state_dict()
        return {name for name, values in self.model.state_dict().items() if not torch.equal(values, before[name])}


@pytest.fixture(scope="module")
def embedded(ava: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    run_dir = tmp_path_factory.mktemp("runs") / "embedded"
    return Finished(train(ava, run_dir, "--strategy", "embed"), run_dir)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Trains on drawn photos, because brightness alone is no task from which a backbone could learn.

    The time is over after the first round.
    """
    folder = tmp_path_factory.mktemp("tuned")
    draw_tiny_ava(folder / "ava", images=100)
    return Finished(train(folder / "ava", folder / "run", "--hours", "0.001"), folder / "run")


def test_by_default_averaged_rounds_follow_the_features(tuned: Finished) -> None:
    assert (tuned.summary["strategy"], tuned.summary["rounds"]) == ("auto", 1)
    assert tuned.summary["ended_because"] == "hours"
    assert "another round would take longer than --hours allows" in tuned.done.stderr
    assert "another round would take longer" in (tuned.run_dir / "report.html").read_text()
    assert not tuned.summary["worse_than_constant"]


def test_features_are_computed_once_and_the_head_is_trained_at_home(embedded: Finished) -> None:
    assert (embedded.summary["strategy"], embedded.summary["rounds"]) == ("embed", 0)
    assert embedded.summary["metrics"]["srcc"] > 0.5
    assert embedded.changed() == {"head.weight", "head.bias"}
    assert embedded.shards_with_votes() == []
    (line,) = embedded.lines
    assert (line["round"], line["admitted"]) == (0, 2)
    # Two shards to embed, and the test photos in two.
    assert sum(provider["tasks"] for provider in embedded.summary["providers"]) == 4


def test_card_report_and_list_tell_the_strategy(embedded: Finished) -> None:
    assert embedded.metadata["strategy"] == "embed"
    assert "- Strategy: embed" in (embedded.run_dir / "MODEL_CARD.md").read_text()
    assert re.search(r"Strategy\W.{0,80}\bembed\b", (embedded.run_dir / "report.html").read_text(), re.DOTALL)
    (row,) = map(json.loads, runs("list", "--root", str(embedded.run_dir.parent), "--json").stdout.splitlines())
    assert (row["strategy"], row["rounds"], row["state"]) == ("embed", "0/0", "finished")
    resumed = runs("resume", str(embedded.run_dir), "--json")
    assert resumed.stdout == embedded.done.stdout


def test_rounds_go_on_from_the_head_that_was_trained_on_features(tuned: Finished) -> None:
    assert [(line["round"], line["moved"]) for line in tuned.lines] == [(0, True), (1, True)]
    assert len(tuned.metadata["history"]) == 2
    assert tuned.shards_with_votes() == []
    before, after = (checkpoint.load(tuned.run_dir / "rounds" / f"{number:04d}.safetensors")[0] for number in (0, 1))
    start, end = before.state_dict(), after.state_dict()
    assert {name for name in end if not torch.equal(start[name], end[name])} == set(after.trainable_parameters(3))
    best = min(tuned.lines, key=lambda line: line["holdout"]["emd_r1"])
    assert tuned.metadata["best_round"] == best["round"]


def test_a_run_that_is_killed_while_it_embeds_pays_for_no_shard_twice(
    ava: Path, embedded: Finished, tmp_path: Path
) -> None:
    run_dir = tmp_path / "run"
    running = subprocess.Popen(
        command(ava, run_dir, "--strategy", "embed"), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    features = run_dir / "embedding" / "features"
    wait_for(features, running)
    while not (kept := list(features.glob("*/*.safetensors"))):
        assert running.poll() is None
    running.send_signal(signal.SIGKILL)
    running.communicate()
    assert json.loads((run_dir / "state.json").read_text())["best_emd"] is None
    resumed = Finished(train(ava, run_dir, "--strategy", "embed"), run_dir)
    assert [update["admitted"] for update in resumed.lines[0]["updates"]] == [True] * (2 - len(kept))
    assert (run_dir / "predictions.csv").read_bytes() == (embedded.run_dir / "predictions.csv").read_bytes()


def test_a_finished_run_goes_on_with_rounds_and_pays_for_no_shard_twice(
    ava: Path, embedded: Finished, tmp_path: Path
) -> None:
    run_dir = tmp_path / "run"
    shutil.copytree(embedded.run_dir, run_dir)
    more = Finished(train(ava, run_dir, "--strategy", "auto", "--rounds", "1"), run_dir)
    assert (more.summary["rounds"], more.summary["ended_because"]) == (1, "rounds")
    embedding, *attempts = more.lines  # the round may have been tried twice
    assert (embedding["round"], {line["round"] for line in attempts}) == (0, {1})
    # Two clients trained; the test photos were predicted again only if the round made a better model.
    evaluated = 2 if more.summary["best_round"] == 1 else 0
    assert sum(provider["tasks"] for provider in more.summary["providers"]) == 2 * len(attempts) + evaluated
    assert more.summary["seconds"] > embedded.summary["seconds"]
    again = train(ava, run_dir, "--strategy", "auto", "--rounds", "1")
    assert "is finished" in again.stderr
    assert again.stdout == more.done.stdout


def test_a_model_worse_than_a_constant_is_said_to_be_so_and_has_its_own_exit_code(tmp_path: Path) -> None:
    ava = make_ava_folder(tmp_path / "ava")
    tested = set((ava / "splits" / "test.txt").read_text().split())
    rows = [line.split() for line in (ava / "AVA.txt").read_text().splitlines()]
    # People's taste turns around for the test photos: who liked bright photos likes dark ones.
    turned = [[*row[:2], *row[11:1:-1], *row[12:]] if row[1] in tested else row for row in rows]
    (ava / "AVA.txt").write_text("".join(" ".join(row) + "\n" for row in turned))
    done = train(ava, tmp_path / "run", "--strategy", "embed")
    summary = json.loads(done.stdout)
    assert summary["metrics"]["emd_r1"] > summary["metrics"]["constant_emd_r1"]
    assert (done.returncode, summary["worse_than_constant"]) == (3, True)
    assert "worse than predicting the average rating" in done.stderr


def test_other_data_in_the_same_folder_is_refused_by_name(ava: Path, embedded: Finished, tmp_path: Path) -> None:
    other = tmp_path / "ava"
    other.symlink_to(make_ava_folder(tmp_path / "other", images=30))
    again = train(other, embedded.run_dir, "--seed", "1", "--backbone", "resnet18")
    assert again.returncode == 1
    for changed in ("--ava was", "--backbone was mobilenet_v2 and is now resnet18", "--seed was 0 and is now 1"):
        assert changed in again.stderr


def test_rounds_where_there_are_none_are_refused_with_the_way_out(ava: Path, tmp_path: Path) -> None:
    for more in ((), ("--estimate",)):
        done = nima_golem(*command(ava, tmp_path / "run", "--strategy", "embed", "--rounds", "2", *more)[3:])
        assert done.returncode == 2
        assert "--strategy embed has no rounds; choose --strategy auto or --strategy federate" in done.stderr
        assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("example", EXAMPLES)
def test_what_the_page_on_strategies_shows_can_be_typed(example: str, ava: Path, tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "tiny-ava").symlink_to(ava)
    arguments = shlex.split(example, comments=True)[1:]
    done = nima_golem(*arguments, "--estimate", "--json", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    stages = [stage["name"] for stage in json.loads(done.stdout)["stages"]]
    trained = {
        "auto": ["embed", "first round", "each further round"],
        "embed": ["embed"],
        "federate": ["first round", "each further round"],
        "fine-tune": ["embed", "first round", "each further round"],
    }
    strategy = arguments[arguments.index("--strategy") + 1] if "--strategy" in arguments else "auto"
    assert stages == [*trained[strategy], "evaluate"]


def test_the_page_shows_every_strategy() -> None:
    assert all(
        any(f"--strategy {name}" in example for example in EXAMPLES) for name in STRATEGIES if name != DEFAULT_STRATEGY
    )
    assert all(f"- **{name}**" in PAGE for name in STRATEGIES)
