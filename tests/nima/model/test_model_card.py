"""The model card states what is known, and that the rest is unknown."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import yaml

from nima.model.card import front_matter, model_card
from nima.ratings.metrics import RatingPairs

METADATA: dict[str, Any] = {
    "name": "tiny",
    "backbone": "mobilenet_v2",
    "data": "tiny-AVA",
    "split": {"name": "random-0", "hash": "ab" * 32},
    "starting_weights": "mobilenet_v2-imagenet",
    "starting_weights_source": "a-package==1.0 (weights.pt)",
    "starting_weights_sha256": "cd" * 32,
    "licence": "BSD-3-Clause",
    "rounds": 6,
    "spent_glm": "0.125",
    "providers": [{"name": "golem-1", "tasks": 9, "paid_glm": "0.1"}, {"name": "golem-2", "paid_glm": "0.025"}],
}


def test_data_split_rounds_cost_and_licence_are_on_the_card() -> None:
    card = model_card(METADATA)
    assert card.startswith("# tiny\n")
    for line in (
        "- Backbone: mobilenet\\_v2",
        "- Data: tiny-AVA",
        f"- Split: random-0, test ids with the SHA-256 `{'ab' * 32}`",
        "- Source of the starting weights: a-package==1.0 (weights.pt)",
        f"- SHA-256 of the starting weights: {'cd' * 32}",
        "- Licence of the starting weights: BSD-3-Clause",
        "- Federated rounds: 6",
        "- Cost, GLM: 0.125",
        "| golem-1 | 9 | 0.1 |",
        "| golem-2 | – | 0.025 |",
        "## Limits",
    ):
        assert line in card.splitlines()


def test_metrics_stand_beside_the_constant_with_their_intervals() -> None:
    random = np.random.default_rng(0)
    pairs = RatingPairs.of(random.integers(1, 9, (50, 10)), random.integers(1, 9, (50, 10)))
    metrics, intervals = pairs.metrics(), pairs.intervals(20)
    card = model_card({**METADATA, "metrics": metrics.as_dict(), "intervals": intervals})
    low, high = intervals["emd_r1"]
    row = f"| EMD, r = 1 | {metrics.emd_r1:.4f} | {low:.4f} … {high:.4f} | {metrics.constant_emd_r1:.4f} |"
    assert row in card.splitlines()
    assert "On 50 test photos" in card


def test_what_is_unknown_is_said_to_be() -> None:
    card = model_card({})
    assert "- Split: not recorded" in card
    assert "Not evaluated." in card


def test_a_providers_name_cannot_write_markdown() -> None:
    card = model_card({"providers": [{"name": "[pay](http://me) |\n# **x** <img src=x>"}]})
    assert "\n# **x**" not in card
    assert r"\[pay\](http://me) \|" in card
    assert r"\<img" in card


def test_the_card_says_who_rated_the_photos() -> None:
    foresters = {"name": "trees", "raters": "foresters", "licence": "CC0-1.0", "drawn": False, "private": True}
    card = model_card({"dataset": foresters})
    assert "- Rated by: foresters" in card
    assert "- Licence of the photos: CC0-1.0, not to be published" in card
    assert "how foresters would rate a photo" in card


def test_drawn_photos_promise_no_taste() -> None:
    drawn = model_card({"dataset": {"name": "tiny", "raters": "a program", "drawn": True}})
    assert "It has learnt nothing about people's taste" in drawn
    assert "how people would rate" not in drawn
    assert "DPChallenge" not in drawn
    assert "DPChallenge" in model_card({"data": "AVA"})


def test_costs_have_four_digits() -> None:
    card = model_card({"spent_glm": "0.012345678", "providers": [{"name": "a", "tasks": 1, "paid_glm": "1234567.8"}]})
    assert "- Cost, GLM: 0.01235" in card
    assert "| a | 1 | 1234568 |" in card
    assert "- Cost, GLM: 1E+999999" in model_card({"spent_glm": "1E+999999"})


def test_the_hub_reads_licence_data_base_and_figures() -> None:
    metrics = RatingPairs.of(np.eye(10), np.eye(10, dtype=np.int64)).metrics().as_dict()
    dataset = {"name": "my trees", "raters": "foresters", "licence": "CC0-1.0"}
    _, block, rest = front_matter({**METADATA, "dataset": dataset, "metrics": metrics}).split("---\n")
    read = yaml.safe_load(block)
    assert rest == ""
    assert (read["license"], read["library_name"]) == ("bsd-3-clause", "nima-golem")
    assert (read["base_model"], read["datasets"]) == ("mobilenet_v2-imagenet", ["my-trees"])
    (model,) = read["model-index"]
    (result,) = model["results"]
    assert result["dataset"] == {"type": "my-trees", "name": "my trees", "split": "random-0"}
    assert {"type": "spearmanr", "name": "SRCC of the mean", "value": 1.0} in result["metrics"]
    assert read["metrics"] == ["accuracy", "emd", "pearsonr", "spearmanr"]


@pytest.mark.parametrize("hostile", ['"\n---\nlicense: x', "\U0001f98a: {", "\\", "'", "\u2028---"])
def test_no_name_breaks_out_of_the_front_matter(hostile: str) -> None:
    metadata = {"name": hostile, "licence": hostile, "starting_weights": hostile, "data": hostile, "metrics": {"n": 3}}
    read = yaml.safe_load(front_matter(metadata).removeprefix("---\n").removesuffix("---\n"))
    assert (read["license"], read["model-index"][0]["name"]) == ("other", hostile)


def test_private_photos_are_not_named_as_a_data_set_of_the_hub() -> None:
    assert "datasets" not in front_matter({"dataset": {"name": "family", "private": True}})


def test_figures_of_a_cross_validation_stand_behind_those_of_few_photos() -> None:
    figures = {"srcc_mean": 0.5, "n": 60}
    validation = {"folds": 5, "metrics": figures, "intervals": {"srcc_mean": [0.3, 0.7]}}
    card = model_card({"metrics": {"srcc_mean": 1.0, "n": 6}, "cross_validation": validation})
    assert "all 60 photos" in card
    assert "| SRCC of the mean | 0.5000 | 0.3000 … 0.7000 | 0.0000 |" in card
    assert card.index("On 6 test photos") < card.index("cross-validation with 5 folds")
