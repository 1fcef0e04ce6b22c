"""Tests of votes on other scales than AVA's, against moments that are computed by hand or from the votes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from nima.datasets.scales import (
    AVA_SCALE,
    STAR_SCALE,
    USUAL_DEVIATION,
    VOTES,
    Scale,
    maximum_entropy,
    votes_of_moments,
    votes_on,
    whole_votes,
)
from nima.ratings import mean_rating, normalise_votes, standard_deviation


def moments(votes: tuple[int, ...]) -> tuple[float, float]:
    probabilities = normalise_votes(votes)
    return float(mean_rating(probabilities)), float(standard_deviation(probabilities))


def test_whole_votes_on_avas_own_scale_stay_as_they_are() -> None:
    assert votes_on(AVA_SCALE, range(1, 11), [0, 1, 5, 17, 38, 36, 15, 6, 5, 1]) == (0, 1, 5, 17, 38, 36, 15, 6, 5, 1)


def test_a_star_is_shared_between_the_two_nearest_ratings() -> None:
    assert votes_on(STAR_SCALE, [1], [1]) == (1, *[0] * 9)
    assert votes_on(STAR_SCALE, [2], [1]) == (0, 0, 7500, 2500, *[0] * 6)  # 2 stars are the rating 3.25
    assert votes_on(STAR_SCALE, [5], [1]) == (*[0] * 9, 1)


@given(st.lists(st.integers(0, 1000), min_size=5, max_size=5).filter(any))
def test_five_bins_keep_their_mean_and_nearly_their_deviation(counts: list[int]) -> None:
    p = np.array(counts) / sum(counts)
    mean = float(p @ np.arange(1, 6))
    variance = float(p @ (np.arange(1, 6) - mean) ** 2)
    found_mean, found_deviation = moments(votes_on(STAR_SCALE, range(1, 6), counts))
    assert found_mean == pytest.approx(1 + 9 * (mean - 1) / 4, abs=0.0025)
    assert (9 / 4) ** 2 * variance - 0.05 <= found_deviation**2 <= (9 / 4) ** 2 * variance + 0.25 + 0.05


@given(st.floats(2, 9), st.floats(0.8, 2.5))
def test_moments_are_kept_to_the_stated_error(mean: float, deviation: float) -> None:
    assume(deviation**2 < (mean - 1) * (10 - mean) - 0.01)
    votes = votes_of_moments(AVA_SCALE, mean, deviation)
    assert sum(votes) == VOTES
    found_mean, found_deviation = moments(votes)
    assert found_mean == pytest.approx(mean, abs=0.0025)
    assert found_deviation == pytest.approx(deviation, abs=0.005)


@given(st.floats(1, 10), st.floats(0, 1))
def test_the_distribution_has_its_moments_wherever_they_are_possible(mean: float, share: float) -> None:
    low = min(int(mean), 9)
    least, most = (mean - low) * (low + 1 - mean), (mean - 1) * (10 - mean)
    variance = least + share * (most - least)
    p = maximum_entropy(mean, math.sqrt(variance))
    assert p.min() >= 0
    assert float(mean_rating(p)) == pytest.approx(mean, abs=1e-3)
    assert float(standard_deviation(p)) ** 2 == pytest.approx(variance, abs=2e-3)


def test_no_distribution_with_these_moments_has_a_larger_entropy() -> None:
    p = maximum_entropy(4.2, 1.3)
    random = np.random.default_rng(0)
    constraints = np.stack([np.ones(10), np.arange(1, 11), np.arange(1, 11) ** 2])
    free = np.linalg.svd(constraints)[2][3:]  # directions that change neither sum nor moments
    for _ in range(50):
        other = p + 1e-4 * random.normal(size=7) @ free
        other = other if other.min() > 0 else p
        assert -(other * np.log(other)).sum() <= -(p * np.log(p)).sum() + 1e-12


def test_a_mean_alone_gets_the_usual_deviation_or_the_largest_possible_one() -> None:
    assert moments(votes_of_moments(Scale(0, 100), 50))[1] == pytest.approx(USUAL_DEVIATION, abs=0.005)
    assert votes_of_moments(Scale(0, 100), 100) == (*[0] * 9, VOTES)


def test_a_deviation_that_no_ratings_can_have_is_an_error_and_a_tiny_one_is_not() -> None:
    with pytest.raises(ValueError, match=r"at most 1\.73"):
        votes_of_moments(STAR_SCALE, 4, 2)
    assert votes_of_moments(AVA_SCALE, 5.5, 0) == (0, 0, 0, 0, VOTES // 2, VOTES // 2, 0, 0, 0, 0)


@given(st.lists(st.floats(0, 1), min_size=10, max_size=10).filter(lambda shares: sum(shares) > 0.01))
def test_largest_remainders_lose_no_vote(shares: list[float]) -> None:
    p = np.array(shares) / sum(shares)
    votes = whole_votes(p)
    assert sum(votes) == VOTES
    assert np.abs(np.array(votes) - VOTES * p).max() < 1


@pytest.mark.parametrize(("low", "high"), [(5, 1), (1, 1), (0, math.inf), (math.nan, 1)])
def test_a_scale_that_is_none_is_refused(low: float, high: float) -> None:
    with pytest.raises(ValueError, match="smaller to a larger"):
        Scale(low, high)
