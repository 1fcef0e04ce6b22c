"""The tables of docs/costs.md show the figures of the estimate."""

from __future__ import annotations

import re
from decimal import Decimal
from functools import cache
from pathlib import Path

import pytest

from requestor.planning.speeds import JOB_CORE_SECONDS, USUAL_THREADS, speed_of
from requestor.planning.stages import round_tasks
from requestor.training.assumptions import Assumptions
from requestor.training.data.sharding import holdout_images
from requestor.training.estimate import PUBLISHED_AVA_SRCC, TINY_AVA_SRCC, Estimate, estimate, size_of
from requestor.training.strategies import STRATEGIES

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "costs.md").read_text(encoding="utf-8")
AVA, TESTED = 255_530, 19_928
BUDGET = Decimal(2)
BACKBONE = "mobilenet_v2"
ROWS = re.findall(
    r"^\| (auto|embed|federate|fine-tune)(?:, (\d+) rounds)? \| (\d+) "
    r"\| ([\d.]+) h \| ([\d.]+) \| ([\d.]+) GB \| ([\d.]+) GB \| (\d+)? *\|",
    PAGE,
    re.MULTILINE,
)


@cache
def estimated(strategy: str, workers: int, uplink: float = Assumptions().uplink) -> Estimate:
    chosen = STRATEGIES[strategy]
    photos = AVA - TESTED - holdout_images(AVA - TESTED)
    assumptions = Assumptions(uplink=uplink)
    run = size_of(photos, TESTED, workers, BACKBONE, chosen.blocks, assumptions.photo_bytes)
    return estimate(run, chosen, chosen.rounds, BUDGET, assumptions)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]}-{row[2]}")
def test_a_row(row: tuple[str, ...]) -> None:
    strategy, rounds, workers, *figures = row
    found = estimated(strategy, int(workers))
    assert int(rounds or 0) == found.rounds
    assert tuple(figures) == (
        f"{found.seconds / 3600:.1f}",
        f"{found.glm:.2f}",
        f"{found.sent / 1e9:.1f}",
        f"{found.received / 1e9:.1f}",
        f"{found.affordable}" if found.rounds else "",
    )


def test_the_sentences_below_the_table() -> None:
    text = " ".join(PAGE.split())
    fast = estimated("embed", 10, uplink=100e6 / 8)
    assert f"`embed` with 10 providers takes {fast.seconds / 3600:.1f} h and {fast.glm:.2f} GLM" in text
    run = estimated("auto", 10).run
    task = round_tasks(run, 0, embedded=True)[0]
    later = next(stage for stage in estimated("auto", 10).stages if stage.name == "each further round")
    assert f"A further round with 10 providers takes {later.seconds:.0f} s and {later.glm:.3f} GLM" in text
    assert f"{task.photos:,} of its {run.train_images // 10:,} photos, {task.samples / task.photos:.0f} times" in text


def test_the_assumptions_are_named() -> None:
    assert len(ROWS) == 6
    speed = speed_of(BACKBONE)
    for value in (speed.frozen, speed.last, JOB_CORE_SECONDS, Assumptions().photo_bytes / 1000, USUAL_THREADS):
        assert f"{value:g}" in PAGE


def test_what_models_reach_is_what_the_estimate_says() -> None:
    section = PAGE.split("## How good a model to expect")[1]
    for name, srcc in TINY_AVA_SRCC.items():
        assert re.search(rf"^\| {name}(, \d rounds)? \| {srcc:.3f} \|", section, re.MULTILINE)
    assert all(f"{srcc:.3f}" in section for srcc, _ in PUBLISHED_AVA_SRCC)


def test_what_the_estimate_says_of_tiny_ava_is_what_was_measured_there() -> None:
    page = (ROOT / "docs" / "strategies.md").read_text(encoding="utf-8")
    rows = {
        "embed": "embed + head",
        "federate": "4 rounds of the head",
        "fine-tune": "embed + head, then 2 rounds of the last 3 blocks",
    }
    for name, row in rows.items():
        assert f"| {row} | {TINY_AVA_SRCC[name]:.3f} |" in page
