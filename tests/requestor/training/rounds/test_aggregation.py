"""Combinations of updates: examples computed by hand, and properties that must hold for any updates."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from requestor.training.rounds import aggregation
from requestor.training.rounds.aggregation import (
    AGGREGATION_RULES,
    MemoryUpdate,
    StoredUpdate,
    Update,
    clipped_mean,
    median,
    trimmed,
    trimmed_mean,
    weighted_mean,
)

Combine = Callable[[Sequence[Update]], NDArray[np.float64]]
SIZE = 5
COMBINATIONS = [weighted_mean, median, trimmed_mean, clipped_mean]

vectors = hnp.arrays(np.float32, SIZE, elements=st.floats(-100, 100, width=32))
updates = st.lists(st.builds(MemoryUpdate, vectors, st.integers(1, 1000)), min_size=1, max_size=9)
anything = hnp.arrays(np.float32, SIZE, elements=st.floats(-(2.0**100), 2.0**100, width=32))


def update(*values: float, samples: int = 1) -> MemoryUpdate:
    return MemoryUpdate(np.array(values, np.float32), samples)


@pytest.mark.parametrize(
    ("combine", "given_updates", "expected"),
    [
        (weighted_mean, [update(1, 2), update(4, 8, samples=2)], [3, 6]),
        (median, [update(1, 9), update(2, -7), update(50, 1)], [2, 1]),
        (median, [update(1), update(2), update(4), update(50)], [3]),
        (trimmed_mean, [update(1), update(2), update(3), update(4), update(1000)], [3]),
        (trimmed_mean, [update(-1000), update(2), update(6)], [2]),
        (trimmed_mean, [update(2), update(6)], [4]),
        # norms 5, 5 and 50: the third is scaled by a tenth
        (clipped_mean, [update(3, 4), update(4, 3), update(30, 40, samples=2)], [13 / 4, 15 / 4]),
        (clipped_mean, [update(0, 0), update(0, 0), update(3, 4)], [0, 0]),
    ],
)
def test_by_hand(combine: Combine, given_updates: list[Update], expected: list[float]) -> None:
    result = combine(given_updates)
    assert result.dtype == np.float64
    np.testing.assert_allclose(result, expected, rtol=1e-12)


@pytest.mark.parametrize("combine", COMBINATIONS)
@given(data=st.data())
def test_the_order_of_arrival_does_not_matter(combine: Combine, data: st.DataObject) -> None:
    given_updates = data.draw(updates)
    shuffled = data.draw(st.permutations(given_updates))
    np.testing.assert_allclose(combine(given_updates), combine(shuffled), atol=1e-9)


@pytest.mark.parametrize("combine", [weighted_mean, median, trimmed_mean])
@given(given_updates=updates)
def test_each_coordinate_lies_between_the_smallest_and_the_largest(
    combine: Combine, given_updates: list[Update]
) -> None:
    stack = np.stack([own.values for own in given_updates]).astype(np.float64)
    result = combine(given_updates)
    assert (result >= stack.min(axis=0) - 1e-9).all()
    assert (result <= stack.max(axis=0) + 1e-9).all()


@pytest.mark.parametrize("combine", COMBINATIONS)
@given(values=vectors, samples=st.lists(st.integers(1, 1000), min_size=1, max_size=5))
def test_equal_updates_give_themselves(combine: Combine, values: NDArray[np.float32], samples: list[int]) -> None:
    np.testing.assert_allclose(combine([MemoryUpdate(values, n) for n in samples]), values, rtol=1e-12, atol=1e-12)


@given(given_updates=updates)
def test_the_mean_is_numpys(given_updates: list[Update]) -> None:
    stack = np.stack([own.values for own in given_updates]).astype(np.float64)
    expected = np.average(stack, axis=0, weights=[own.samples for own in given_updates])
    np.testing.assert_allclose(weighted_mean(given_updates), expected, atol=1e-9)


@given(given_updates=updates)
def test_the_median_is_numpys(given_updates: list[Update]) -> None:
    stack = np.stack([own.values for own in given_updates]).astype(np.float64)
    np.testing.assert_allclose(median(given_updates), np.median(stack, axis=0), atol=1e-12)


@pytest.mark.parametrize(
    ("combine", "tolerated"), [(median, lambda n: (n - 1) // 2), (trimmed_mean, trimmed)], ids=["median", "trimmed"]
)
@given(data=st.data())
def test_the_breakdown_point(combine: Combine, tolerated: Callable[[int], int], data: st.DataObject) -> None:
    """This many hostile updates, with any values, leave every coordinate in the range of the honest ones."""
    n = data.draw(st.integers(1, 9))
    hostile = tolerated(n)
    honest = data.draw(st.lists(vectors, min_size=n - hostile, max_size=n - hostile))
    attack = data.draw(st.lists(anything, min_size=hostile, max_size=hostile))
    result = combine([MemoryUpdate(values, 1) for values in [*honest, *attack]])
    stack = np.stack(honest).astype(np.float64)
    assert (result >= stack.min(axis=0) - 1e-9).all()
    assert (result <= stack.max(axis=0) + 1e-9).all()


@given(st.lists(vectors, min_size=2, max_size=6), st.data())
def test_a_hostile_minority_cannot_lengthen_the_clipped_mean(
    honest: list[NDArray[np.float32]], data: st.DataObject
) -> None:
    attack = data.draw(st.lists(anything, max_size=len(honest) - 1))
    result = clipped_mean([MemoryUpdate(values, 1) for values in [*honest, *attack]])
    longest = max(float(np.linalg.norm(values.astype(np.float64))) for values in honest)
    assert float(np.linalg.norm(result)) <= longest * (1 + 1e-9)


def test_a_quarter_is_trimmed_and_one_at_least_where_there_are_three() -> None:
    assert [trimmed(n) for n in (1, 2, 3, 4, 7, 8, 100)] == [0, 0, 1, 1, 1, 2, 25]


@pytest.mark.parametrize("combine", COMBINATIONS)
@given(given_updates=updates)
def test_updates_on_disk_and_in_blocks_give_what_those_in_memory_give(
    combine: Combine, given_updates: list[MemoryUpdate], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("updates")
    stored = [
        StoredUpdate.write(folder / str(index), own.values, own.samples) for index, own in enumerate(given_updates)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(aggregation, "BLOCK", 2)
        patch.setattr(aggregation, "STACK", 2 * len(stored))
        result = combine(stored)
    np.testing.assert_allclose(result, combine(given_updates), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("combine", COMBINATIONS)
@pytest.mark.parametrize(
    ("given_updates", "complaint"),
    [
        ([], "no update"),
        ([update(1, 2), update(1)], "same parameters"),
        ([update(1, samples=0)], "must be positive"),
    ],
)
def test_what_cannot_be_combined_is_refused(combine: Combine, given_updates: list[Update], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        combine(given_updates)


def test_the_norm_is_exact_where_float32_would_overflow() -> None:
    values = np.full(4, 3e38, np.float32)
    assert math.isclose(aggregation.norm(values), 2 * float(np.float32(3e38)), rel_tol=1e-12)


@pytest.mark.parametrize("rule", AGGREGATION_RULES.values(), ids=AGGREGATION_RULES.keys())
def test_every_rule_steps_towards_where_all_updates_point(rule: aggregation.Rule) -> None:
    given_updates = [update(0.1, -0.2), update(0.1, -0.2, samples=3)]
    step, _ = rule.server(rule.combine(given_updates), {})
    assert np.sign(step).tolist() == [1, -1]
