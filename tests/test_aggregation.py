import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from requestor.aggregation import weighted_mean

values = hnp.arrays(np.float32, (3, 2), elements=st.floats(-100, 100, width=32))
updates = st.lists(st.tuples(values, st.integers(1, 1000)), min_size=1, max_size=6)


def mean_of(pairs: list[tuple[np.ndarray, int]]) -> np.ndarray:
    return weighted_mean(({"w": value}, weight) for value, weight in pairs)["w"]


def test_by_hand() -> None:
    result = weighted_mean([({"w": np.array([1.0, 2.0])}, 1), ({"w": np.array([4.0, 8.0])}, 2)])
    np.testing.assert_allclose(result["w"], [3.0, 6.0], rtol=1e-15)
    assert result["w"].dtype == np.float64


@given(updates, st.randoms())
def test_the_order_of_arrival_does_not_matter(pairs: list[tuple[np.ndarray, int]], random) -> None:
    shuffled = random.sample(pairs, len(pairs))
    np.testing.assert_allclose(mean_of(pairs), mean_of(shuffled), atol=1e-10)


@given(updates)
def test_the_mean_lies_between_the_smallest_and_the_largest(pairs: list[tuple[np.ndarray, int]]) -> None:
    stack = np.stack([value for value, _ in pairs]).astype(np.float64)
    result = mean_of(pairs)
    assert (result >= stack.min(axis=0) - 1e-9).all()
    assert (result <= stack.max(axis=0) + 1e-9).all()


@given(values, st.lists(st.integers(1, 1000), min_size=1, max_size=5))
def test_equal_updates_give_themselves(value: np.ndarray, weights: list[int]) -> None:
    np.testing.assert_allclose(mean_of([(value, weight) for weight in weights]), value, rtol=1e-12)


@pytest.mark.parametrize(
    "pairs",
    [
        [],
        [({"w": np.ones(2)}, 0)],
        [({"w": np.ones(2)}, 1), ({"v": np.ones(2)}, 1)],
        [({"w": np.ones(2)}, 1), ({"w": np.ones((2, 1))}, 1)],
    ],
)
def test_what_cannot_be_averaged_is_refused(pairs: list[tuple[dict[str, np.ndarray], int]]) -> None:
    with pytest.raises(ValueError, match=r"update"):
        weighted_mean(pairs)
