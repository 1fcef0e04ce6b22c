"""The table of docs/costs.md shows the figures of the estimate."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from nima.model.checkpoint import encode
from nima.model.network import initial_model
from nima.wire.features import max_features_bytes as max_feature_bytes
from nima.wire.updates import max_update_bytes, schema_of
from requestor.training.data.sharding import SHARD_IMAGES, holdout_images
from requestor.training.estimate import PUBLISHED_AVA_SRCC, TINY_AVA_SRCC, Assumptions, Sizes, as_json, estimate_stages
from requestor.training.strategies import STRATEGIES

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "costs.md").read_text(encoding="utf-8")
AVA, TESTED = 255_530, 19_928
ROWS = re.findall(
    r"^\| (embed|federate|fine-tune)(?:, (\d+) rounds)? \| (\d+) "
    r"\| ([\d.]+) h \| ([\d.]+) \| ([\d.]+) GB \| ([\d.]+) GB",
    PAGE,
    re.MULTILINE,
)


def expected(strategy: str, workers: int, assumptions: Assumptions) -> tuple[str, str, str, str]:
    """Returns time, GLM, sent and received, as the page writes them."""
    model, chosen = initial_model("mobilenet_v2", None, 0, multi_level=True), STRATEGIES[strategy]
    trained = schema_of(model.trainable_parameters(chosen.blocks))
    features = max_feature_bytes(SHARD_IMAGES, model.head.in_features) // SHARD_IMAGES
    sizes = Sizes(len(encode(model, {})), max_update_bytes(trained), features)
    photos = AVA - TESTED - holdout_images(AVA - TESTED)
    told = as_json(
        estimate_stages(photos, TESTED, chosen, chosen.rounds, workers, sizes, assumptions), assumptions, chosen
    )
    return (
        f"{told['seconds'] / 3600:.1f}",
        f"{told['glm']:.2f}",
        f"{told['sent'] / 1e9:.1f}",
        f"{told['received'] / 1e9:.1f}",
    )


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]}-{row[2]}")
def test_a_row(row: tuple[str, ...]) -> None:
    strategy, rounds, workers, *figures = row
    assert int(rounds or 0) == STRATEGIES[strategy].rounds
    assert tuple(figures) == expected(strategy, int(workers), Assumptions())


def test_the_sentence_on_a_faster_uplink() -> None:
    hours, glm, *_ = expected("embed", 10, Assumptions(uplink=100e6 / 8))
    said = f"Behind 100 Mbit/s, `embed` with 10 providers takes {hours} h and {glm} GLM"
    assert said in " ".join(PAGE.split())


def test_the_assumptions_are_named() -> None:
    assert len(ROWS) == 5
    assumptions = Assumptions()
    for value in (assumptions.images_a_core_second, assumptions.job_seconds, assumptions.photo_bytes / 1000):
        assert f"{value:g}" in PAGE


def test_what_models_reach_is_what_the_estimate_says() -> None:
    section = PAGE.split("## How good a model to expect")[1]
    for name, srcc in TINY_AVA_SRCC.items():
        assert re.search(rf"^\| {name}(, \d rounds)? \| {srcc:.3f} \|", section, re.MULTILINE)
    assert all(f"{srcc:.3f}" in section for srcc, _ in PUBLISHED_AVA_SRCC)


def test_what_the_estimate_says_of_tiny_ava_is_what_was_measured_there() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "strategies.md").read_text(encoding="utf-8")
    rows = {
        "embed": "embed + head",
        "federate": "4 rounds of the head",
        "fine-tune": "embed + head, then 2 rounds of the last 3 blocks",
    }
    for name, row in rows.items():
        assert f"| {row} | {TINY_AVA_SRCC[name]:.3f} |" in page
