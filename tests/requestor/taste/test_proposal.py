"""The proposed photos: those about which the committee disagrees, and not twenty of one burst."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from requestor.taste.learning import Tilt
from requestor.taste.proposal import propose


def committee(features: int) -> list[Tilt]:
    """Makes two members who disagree about the first feature alone."""
    first = np.eye(features)[0]
    return [Tilt(np.zeros(features), sign * first, 0.0) for sign in (-1, 1)]


def test_the_most_disputed_of_the_drawn_photos_are_chosen() -> None:
    random = np.random.default_rng(0)
    features = random.normal(0, 1, (90, 50)).astype(np.float16)
    chosen = propose(features, np.arange(90), committee(50), 30)
    disputed = np.abs(features[:, 0].astype(np.float64))
    assert disputed[chosen].mean() > 1.4 * disputed.mean()


@given(st.integers(1, 60), st.integers(1, 30), st.integers(1, 12), st.booleans())
def test_each_group_is_proposed_once_at_most(photos: int, count: int, groups: int, known: bool) -> None:
    features = np.random.default_rng(photos).normal(0, 1, (photos, 4)).astype(np.float16)
    numbers = np.arange(photos) % groups
    chosen = propose(features, numbers, committee(4) if known else [], count)
    assert len(chosen) == min(count, len(set(numbers.tolist())))
    assert len({int(numbers[index]) for index in chosen}) == len(chosen)


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_photos_that_are_all_alike_are_no_error(value: float) -> None:
    assert len(propose(np.full((5, 3), value, np.float16), np.arange(5), committee(3), 2)) == 2
