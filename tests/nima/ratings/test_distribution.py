"""Distributions of ratings: examples computed by hand, and properties that must hold for any votes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nima.ratings.distribution import DistributionError, mean_rating, normalise_votes, percentile, standard_deviation
from nima.ratings.percentiles import percentile_among, score_quantiles

votes_of_one = st.lists(st.integers(0, 10_000), min_size=10, max_size=10).filter(any)


def test_mean_and_deviation_by_hand() -> None:
    # Half of the raters say 1 and half 10.
    p = normalise_votes([5, 0, 0, 0, 0, 0, 0, 0, 0, 5])
    assert mean_rating(p) == 5.5
    assert standard_deviation(p) == 4.5
    assert mean_rating(normalise_votes([0, 0, 1, 0, 0, 0, 0, 0, 0, 0])) == 3
    assert standard_deviation(normalise_votes([0, 0, 1, 0, 0, 0, 0, 0, 0, 0])) == 0


@given(votes_of_one)
def test_votes_become_a_distribution(votes: list[int]) -> None:
    p = normalise_votes(votes)
    assert (p >= 0).all()
    assert p.sum() == pytest.approx(1)
    assert 1 - 1e-12 <= mean_rating(p) <= 10 + 1e-12
    assert 0 <= standard_deviation(p) <= 4.5 + 1e-12
    assert standard_deviation(p) == pytest.approx(np.std(np.repeat(np.arange(1, 11), votes)), abs=1e-9)


def test_rows_are_independent() -> None:
    votes = np.random.default_rng(0).integers(1, 50, (4, 3, 10))
    assert mean_rating(normalise_votes(votes)).shape == (4, 3)
    assert mean_rating(normalise_votes(votes))[2, 1] == pytest.approx(mean_rating(normalise_votes(votes[2, 1])))


@pytest.mark.parametrize("votes", [[1] * 9, [0] * 10, [-1] + [1] * 9, [float("nan")] + [1] * 9, 3])
def test_what_is_no_distribution_is_refused(votes: object) -> None:
    with pytest.raises(DistributionError):
        normalise_votes(votes)  # type: ignore[arg-type]


def test_percentile_by_hand() -> None:
    population = [1, 2, 2, 3]
    assert percentile(2, population) == 50
    assert percentile(0, population) == 0
    assert percentile(9, population) == 100
    np.testing.assert_array_equal(percentile([1, 3], population), [12.5, 87.5])


def test_a_percentile_needs_a_population() -> None:
    with pytest.raises(DistributionError):
        percentile(1, [])


@given(st.lists(st.floats(1, 10), min_size=1), st.floats(1, 10), st.floats(1, 10))
def test_a_rank_among_quantiles_never_falls_as_the_score_rises(scores: list[float], one: float, other: float) -> None:
    quantiles = score_quantiles(scores)
    low, high = sorted((one, other))
    assert 0 <= percentile_among(low, quantiles) <= percentile_among(high, quantiles) <= 100
