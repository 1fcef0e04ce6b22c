"""Directions of a round's updates: which agree with the others, and which oppose them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from requestor.training.rounds.vectors import FEWEST, Directions

VALUES = st.floats(-(2.0**100), 2.0**100, width=32)
UPDATE = arrays(np.float32, 4, elements=VALUES).filter(lambda values: np.abs(values).max() > 1e-30)
UPDATES = st.lists(UPDATE, min_size=FEWEST + 1, max_size=6)


def of(*updates: list[float]) -> Directions:
    directions = Directions()
    for values in updates:
        directions.add(np.array(values, np.float32))
    return directions


def test_the_cosine_with_the_sum_of_directions() -> None:
    others = of([3, 0], [0, 5], [0, 0.1])  # (1, 2), whatever their lengths
    assert others.agreement(np.array([2, 0], np.float32)) == pytest.approx(1 / np.sqrt(5))
    assert others.agreement(np.array([0, -7], np.float32)) == pytest.approx(-2 / np.sqrt(5))


def test_one_of_them_is_held_against_the_others_alone() -> None:
    everybody = of([1, 0], [1, 0], [1, 0], [-4, 0])
    assert everybody.agreement(np.array([-4, 0], np.float32), added=True) == pytest.approx(-1)
    assert everybody.agreement(np.array([1, 0], np.float32), added=True) == pytest.approx(1)


def test_nobody_is_held_against_a_few() -> None:
    few, enough = of([1, 0], [1, 0]), of([1, 0], [1, 0], [1, 0])
    own = np.array([1, 0], np.float32)
    assert few.agreement(own) is None
    assert enough.agreement(own, added=True) is None
    assert enough.agreement(own) is not None


def test_others_that_cancel_out_point_nowhere() -> None:
    assert of([1, 0], [-1, 0], [1, 0], [-1, 0]).agreement(np.array([1, 0], np.float32)) is None


@given(UPDATES)
def test_it_is_a_cosine_and_no_length_matters(updates: list[np.ndarray[tuple[int], np.dtype[np.float32]]]) -> None:
    *others, own = updates
    directions, shorter = Directions(), Directions()
    for values in others:
        directions.add(values)
        shorter.add(values / np.float32(8))
    found = directions.agreement(own)
    if found is not None:
        assert -1.0001 <= found <= 1.0001
        assert shorter.agreement(own / np.float32(8)) == pytest.approx(found, abs=1e-3)
