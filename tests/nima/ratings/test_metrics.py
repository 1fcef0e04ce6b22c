"""Metrics, compared with SciPy, with numbers computed by hand, and with published predictions on AVA."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import io, stats

from nima.ava.ratings_list import read_ratings
from nima.ratings.distribution import DistributionError
from nima.ratings.metrics import RatingPairs, compute_metrics

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
PUBLISHED = DATA / "nima" / "idealo_predictions_on_ava_test.mat"


@st.composite
def votes(draw: st.DrawFn, images: int | None = None) -> NDArray[np.int64]:
    """Draws the votes `[n, 10]` of a panel that is so small that means and ranks often tie."""
    n = images or draw(st.integers(1, 12))
    row = st.lists(st.integers(0, 3), min_size=10, max_size=10).filter(any)
    return np.array(draw(st.lists(row, min_size=n, max_size=n)))


@st.composite
def pairs(draw: st.DrawFn) -> RatingPairs:
    n = draw(st.integers(2, 12))
    return RatingPairs.of(draw(votes(n)), draw(votes(n)))


def one_hot(*ratings: int) -> NDArray[np.float64]:
    return np.eye(10)[np.array(ratings) - 1]


def test_emd_worked_out_by_hand() -> None:
    # All on 1 against all on 3: the CDFs differ by 1 in two of ten buckets; 5 against 5: nowhere.
    metrics = compute_metrics(one_hot(1, 5), one_hot(3, 5))
    assert metrics.emd_r1 == pytest.approx(0.2 / 2)
    assert metrics.emd_r2 == pytest.approx(np.sqrt(0.2) / 2)  # the root of each image, then the mean


def test_accuracy_is_cut_at_five_and_five_is_not_good() -> None:
    metrics = compute_metrics(one_hot(5, 6, 6, 5), one_hot(4, 7, 5, 6))
    assert metrics.accuracy == 0.5


def test_the_constant_baseline_worked_out_by_hand() -> None:
    # The constant is half on 4, half on 8; its CDF is 0.5 away from either image in the four buckets 4..7.
    metrics = compute_metrics(one_hot(4, 8, 8, 4), one_hot(4, 8, 4, 8))
    assert metrics.constant_emd_r1 == pytest.approx(0.2)
    assert metrics.constant_emd_r2 == pytest.approx(np.sqrt(0.1))
    assert metrics.constant_accuracy == 0.5


def test_a_constant_prediction_has_no_correlation_and_the_baselines_emd() -> None:
    rated = np.random.default_rng(0).integers(1, 30, (200, 10))
    constant = np.tile((rated / rated.sum(axis=1, keepdims=True)).mean(axis=0), (200, 1))
    metrics = compute_metrics(constant, rated)
    assert metrics.srcc_mean == metrics.lcc_mean == metrics.srcc_std == metrics.lcc_std == 0
    assert metrics.emd_r1 == pytest.approx(metrics.constant_emd_r1, abs=1e-15)
    assert metrics.emd_r2 == pytest.approx(metrics.constant_emd_r2, abs=1e-15)
    assert metrics.accuracy == metrics.constant_accuracy


@given(pairs())
def test_correlations_are_scipys_ties_included(sample: RatingPairs) -> None:
    ratings = np.arange(1, 11)
    mean, std = [], []
    for p in (sample.predicted, sample.rated):
        mean.append((p * ratings).sum(axis=1))
        std.append(np.sqrt((p * (ratings - mean[-1][:, None]) ** 2).sum(axis=1)))
    metrics = sample.metrics()
    for name, (x, y) in {"mean": mean, "std": std}.items():
        if np.ptp(x) > 1e-9 and np.ptp(y) > 1e-9:
            assert getattr(metrics, f"srcc_{name}") == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)
            assert getattr(metrics, f"lcc_{name}") == pytest.approx(stats.pearsonr(x, y).statistic, abs=1e-9)


@given(votes())
def test_the_raters_themselves_are_a_perfect_prediction(panel: NDArray[np.int64]) -> None:
    metrics = compute_metrics(panel * 3, panel)
    assert metrics.emd_r1 == pytest.approx(0, abs=1e-15)
    assert metrics.accuracy >= 1 - np.isclose((panel @ np.arange(1, 11)) / panel.sum(axis=1), 5).mean()
    assert metrics.lcc_mean == pytest.approx(1) or metrics.lcc_mean == 0


@given(pairs())
@settings(max_examples=20)
def test_emd_is_symmetric_and_bounded(sample: RatingPairs) -> None:
    there = sample.metrics()
    back = RatingPairs(sample.rated, sample.predicted).metrics()
    assert there.emd_r1 == pytest.approx(back.emd_r1)
    assert 0 <= there.emd_r1 <= there.emd_r2 + 1e-15 <= 0.9**0.5 + 1e-12


@pytest.mark.parametrize(
    ("predicted", "rated"),
    [
        (np.zeros((0, 10)), np.zeros((0, 10))),
        (np.ones((2, 10)), np.ones((3, 10))),
        (np.ones((2, 9)), np.ones((2, 9))),
        (np.ones(10), np.ones(10)),
        (np.full((1, 10), np.nan), np.ones((1, 10))),
        (-np.ones((1, 10)), np.ones((1, 10))),
        (np.ones((1, 10)), np.zeros((1, 10))),
    ],
)
def test_what_is_no_distribution_is_refused(predicted: NDArray[np.float64], rated: NDArray[np.float64]) -> None:
    with pytest.raises(DistributionError):
        compute_metrics(predicted, rated)


@given(st.data())
def test_intervals_of_a_few_images_are_numbers(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 4))  # some resamples hold one image only, whose correlation is undefined
    predicted, rated = data.draw(votes(n)), data.draw(votes(n))
    for low, high in RatingPairs.of(predicted, rated).intervals(resamples=30).values():
        assert -1 <= low <= high <= 1


def test_intervals_hold_the_metric_repeat_and_narrow_with_more_images() -> None:
    random = np.random.default_rng(3)
    rated = random.integers(1, 30, (1600, 10))
    predicted = rated + random.integers(0, 40, rated.shape)
    whole, part = RatingPairs.of(predicted, rated), RatingPairs.of(predicted[:100], rated[:100])
    wide, narrow = part.intervals(200, seed=1), whole.intervals(200, seed=1)
    assert part.intervals(200, seed=1) == wide
    assert part.intervals(200, seed=2) != wide
    metrics = whole.metrics().as_dict()
    for name, (low, high) in narrow.items():
        assert low <= metrics[name] <= high
        assert high - low < wide[name][1] - wide[name][0]


def test_a_resample_is_the_metric_of_the_images_drawn() -> None:
    sample = RatingPairs.of(
        np.random.default_rng(0).integers(1, 9, (50, 10)), np.random.default_rng(1).integers(1, 9, (50, 10))
    )
    rows = np.random.default_rng(7).integers(50, size=50)
    drawn = RatingPairs(sample.predicted[rows], sample.rated[rows]).metrics()
    low, high = sample.intervals(resamples=1, seed=7)["srcc_mean"]
    assert low == high == pytest.approx(drawn.srcc_mean, abs=1e-12)


@pytest.mark.skipif(not PUBLISHED.exists(), reason="needs the published predictions")
def test_the_published_figures_of_idealos_model_on_ava() -> None:
    published = io.loadmat(PUBLISHED)
    image_ids = published["labels"][:, 0].astype(np.int64)
    metrics = compute_metrics(
        published["predictions"].reshape(-1, 10), read_ratings(DATA / "ava").select(image_ids).votes
    )
    expected = {
        "srcc_mean": 0.59496,
        "lcc_mean": 0.61297,
        "srcc_std": 0.17487,
        "lcc_std": 0.17646,
        "emd_r1": 0.05100,
        "emd_r2": 0.07322,
        "accuracy": 0.77231,
        "constant_emd_r1": 0.06360,
        "constant_emd_r2": 0.08926,
        "constant_accuracy": 0.70319,
        "n": 25548,
    }
    assert {name: round(value, 5) for name, value in metrics.as_dict().items()} == expected
