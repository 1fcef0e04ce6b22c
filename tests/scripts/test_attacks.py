"""Attackers who know the defence, among eight clients: the small form of `scripts/bench attacks`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts" / "benchmarks"))

from attacks import measure


@pytest.mark.parametrize("attack", ["label-flip", "backdoor", "small norms"])
def test_an_attack_throughout_gains_nothing_and_gets_no_honest_provider_banned(attack: str) -> None:
    options = argparse.Namespace(
        ava=None,
        drawn=True,
        attacks=[attack],
        rules=[],
        hostile=[3],
        holdout=[45],
        seeds=[0],
        rounds=2,
        share=0.1,
        aggregation="mean",
    )
    (row,) = measure(options)
    figures = row["throughout"]
    assert isinstance(figures, dict)
    assert figures["lost"] <= 0.02
    assert abs(figures["patched"]) <= 0.3
    assert (figures["honest_banned"], figures["hostile_banned"]) == (0, 3)
