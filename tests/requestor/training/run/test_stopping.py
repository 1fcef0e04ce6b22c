"""Stopping: rounds end for the first reason that holds, never before the first one, and only a clear gain counts."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
from ava_folder import make_ava_folder
from hypothesis import given
from hypothesis import strategies as st
from train_options import train_options

from requestor.records.state import TrainingState
from requestor.training.config import RunConfig
from requestor.training.run.stopping import improves, reason_to_end, step_scale


@pytest.fixture(scope="module")
def auto(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    ava = make_ava_folder(tmp_path_factory.mktemp("data") / "ava", images=12)
    return RunConfig.of(train_options(ava, strategy="auto", budget=Decimal(2), hours=1.0), {})


def state(**fields: object) -> TrainingState:
    return replace(TrainingState(round=3, best_emd=0.1, round_seconds=60.0, round_glm="0.1"), **fields)  # type: ignore[arg-type]


def test_a_run_that_still_improves_goes_on(auto: RunConfig) -> None:
    assert reason_to_end(auto, state(stalled=1, failed=1), Decimal(1)) is None


@pytest.mark.parametrize(
    ("fields", "spent", "reason"),
    [
        ({"stalled": 2}, 0, "stalled"),
        ({"failed": 2}, 0, "failed"),
        ({}, "1.71", "budget"),  # 1.71 + 0.1 is more than 2 less a tenth for the evaluation
        ({"seconds": 3541.0}, 0, "hours"),
    ],
)
def test_rounds_end_for_a_reason(auto: RunConfig, fields: dict[str, object], spent: str, reason: str) -> None:
    assert reason_to_end(auto, state(**fields), Decimal(spent)) == reason


def test_the_last_round_that_fits_is_done(auto: RunConfig) -> None:
    assert reason_to_end(auto, state(seconds=3540.0), Decimal("1.7")) is None


@given(stalled=st.integers(0, 9), spent=st.integers(0, 9), seconds=st.floats(0, 1e6))
def test_at_least_one_round_is_always_done(auto: RunConfig, stalled: int, spent: int, seconds: float) -> None:
    begun = state(round=0, stalled=stalled, seconds=seconds)
    assert reason_to_end(auto, begun, Decimal(spent)) is None


def test_a_fixed_number_of_rounds_is_done_even_if_they_do_not_help(auto: RunConfig) -> None:
    fixed = replace(auto, rounds=4)
    assert reason_to_end(fixed, state(stalled=3), Decimal(0)) is None
    assert reason_to_end(fixed, state(round=4), Decimal(0)) == "rounds"


def test_a_strategy_without_rounds_ends_with_its_model(auto: RunConfig) -> None:
    embed = replace(auto, rounds=0)
    assert reason_to_end(embed, TrainingState(), Decimal(0)) is None
    assert reason_to_end(embed, TrainingState(best_emd=0.1), Decimal(0)) == "embedded"


def test_only_a_gain_beyond_the_standard_error_of_the_difference_counts() -> None:
    before = np.random.default_rng(0).uniform(0.02, 0.2, 400)  # photos differ far more than a round changes them
    noise = np.random.default_rng(1).normal(0, 0.002, 400)
    error = 0.002 / np.sqrt(400)
    assert improves(before, before + noise - noise.mean() - 2 * error)
    assert not improves(before, before + noise - noise.mean() - 0.5 * error)
    assert not improves(before, before + noise - noise.mean() + 2 * error)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_equal_losses_are_no_gain(losses: list[float]) -> None:
    assert not improves(np.array(losses), np.array(losses))


def test_steps_get_smaller_with_each_round_that_does_not_help() -> None:
    assert [step_scale(state(stalled=s, failed=f)) for s, f in ((0, 0), (1, 0), (0, 1), (1, 1))] == [1, 0.5, 0.5, 0.25]
