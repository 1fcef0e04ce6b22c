"""Learning a taste: it ranks photos that it has not seen, and few ratings do no harm."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from nima.ratings import mean_rating
from requestor.taste import learning
from requestor.taste.learning import Array, Learnt, RatedFeatures, learn, tilted

FEATURES = 40


def rank_correlation(one: Array, other: Array) -> float:
    return float(spearmanr(one, other).statistic)


def drawn(photos: int, seed: int, agreement: float, noise: float = 0.2) -> tuple[RatedFeatures, Array]:
    """Draws photos whose owner agrees with the model by `agreement`, 0..1; returns them and the owner's taste."""
    random = np.random.default_rng(seed)
    features = random.normal(2, 1, (photos, FEATURES)).astype(np.float16)
    own, models = np.random.default_rng(99).normal(0, 1 / math.sqrt(FEATURES), (2, FEATURES))
    logits = np.outer((features - 2) @ models, (np.arange(1, 11) - 5.5) / 4) - (np.arange(1, 11) - 5.5) ** 2 / 4
    probabilities = tilted(np.full((photos, 10), 0.1), np.zeros(photos)) * np.exp(logits)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    taste = (1 - agreement) * ((features - 2) @ own) + agreement * (mean_rating(probabilities) - 5.5)
    owners = np.clip(5.5 + taste + random.normal(0, noise, photos), 1, 10)
    return RatedFeatures(features, probabilities, owners, np.arange(photos)), taste


def on_unseen(learnt: Learnt, agreement: float) -> tuple[float, float]:
    """Returns the rank correlations of the learnt taste, and of the model, with the taste on 500 unseen photos."""
    unseen, taste = drawn(500, 1000, agreement)
    found = mean_rating(tilted(unseen.probabilities, learnt.tilt.of(unseen.features)))
    return rank_correlation(found, taste), rank_correlation(mean_rating(unseen.probabilities), taste)


@pytest.mark.parametrize("photos", [60, 300])
def test_a_taste_of_its_own_is_learnt_and_the_measured_figure_holds_for_unseen_photos(photos: int) -> None:
    rated, taste = drawn(photos, 0, agreement=0)
    learnt = learn(rated)
    after, before = on_unseen(learnt, agreement=0)
    assert after > before + 0.5
    measured = rank_correlation(mean_rating(learnt.left_out), taste)
    assert measured == pytest.approx(after, abs=0.15)


@pytest.mark.parametrize("noise", [0.2, 2])
@pytest.mark.parametrize("seed", range(4))
def test_few_ratings_of_an_owner_who_agrees_do_not_make_the_model_worse(seed: int, noise: float) -> None:
    learnt = learn(drawn(20, seed, 1, noise)[0])
    after, before = on_unseen(learnt, agreement=1)
    assert after > before - 0.02


def test_photos_of_a_burst_are_left_out_together() -> None:
    """Copies in several folds would show a taste of which nothing is there."""
    rated, _ = drawn(40, 3, agreement=0)
    owners = np.random.default_rng(3).uniform(3, 8, 40)
    copies = np.repeat(np.arange(40), 6)
    photos = RatedFeatures(rated.features[copies], rated.probabilities[copies], owners[copies], copies)
    assert rank_correlation(mean_rating(learn(photos).left_out), owners[copies]) < 0.4
    apart = RatedFeatures(photos.features, photos.probabilities, photos.owners, np.arange(240))
    assert rank_correlation(mean_rating(learn(apart).left_out), owners[copies]) > 0.9


def test_the_way_over_few_directions_gives_the_same_taste(monkeypatch: pytest.MonkeyPatch) -> None:
    rated, _ = drawn(100, 5, agreement=0)
    direct = learn(rated)
    rotated = np.linalg.qr(np.random.default_rng(0).normal(size=(200, FEATURES)))[0]
    centred = rated.features.astype(np.float64) @ rotated.T  # more features than photos, which say the same
    many = RatedFeatures(centred.astype(np.float16), rated.probabilities, rated.owners, rated.groups)
    monkeypatch.setattr(learning, "_BLOCK", 7)
    found = learn(many)
    assert rank_correlation(found.tilt.of(many.features), direct.tilt.of(rated.features)) > 0.95


@given(st.integers(0, 1000), st.floats(-3, 3))
def test_a_tilt_moves_the_mean_its_way(seed: int, tilt: float) -> None:
    p = np.random.default_rng(seed).dirichlet(np.ones(10), 1)
    q = tilted(p, np.array([tilt]))
    assert q.sum() == pytest.approx(1)
    assert (mean_rating(q) - mean_rating(p))[0] * tilt >= -1e-12
    np.testing.assert_allclose(tilted(q, np.array([-tilt])), p, atol=1e-12)
