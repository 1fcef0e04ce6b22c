"""Wrong features and predictions are found, and honest ones from another machine are accepted."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from drawn_photos import shard
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from nima.model.network import Nima, initial_model
from nima.training.features import embed
from nima.training.loop import predict, standardise_features
from requestor.audits.rows import FEATURE_TOLERANCE, PREDICTION_TOLERANCE, check_features, check_predictions, deviations
from requestor.audits.sampling import AT_LEAST, chosen_rows, chosen_segments

PHOTOS = shard(12)
SHARE = 0.1  # three photos are checked


@pytest.fixture(scope="module")
def model() -> Nima:
    made = initial_model("mobilenet_v3_small", None, 0, multi_level=True)
    standardise_features(made, PHOTOS.jpegs)
    return made


@pytest.fixture(scope="module")
def features(model: Nima) -> NDArray[np.float16]:
    return embed(model, PHOTOS.jpegs)


def test_honest_features_pass_however_they_were_computed(model: Nima, features: NDArray[np.float16]) -> None:
    with torch.backends.mkldnn.flags(enabled=False):
        elsewhere = embed(model, PHOTOS.jpegs, batch_size=5)
    for claimed in (features, elsewhere):
        assert check_features(model, PHOTOS, claimed, SHARE) is None
    # All of them, not only those that a check would examine.
    assert deviations(elsewhere, features).max() < FEATURE_TOLERANCE / 10


@pytest.mark.parametrize(
    "lie",
    [
        lambda features: np.roll(features, 1, axis=0),
        lambda features: np.zeros_like(features),
        lambda features: features * np.float16(1.5),
        lambda features: -features,
    ],
    ids=["another's", "nothing", "too large", "sign"],
)
def test_features_of_no_or_other_work_are_found(model: Nima, features: NDArray[np.float16], lie) -> None:
    wrong = check_features(model, PHOTOS, lie(features), SHARE)
    assert wrong is not None
    assert "standard deviations off" in wrong


def test_one_wrong_photo_is_named_where_it_is_looked_at(model: Nima, features: NDArray[np.float16]) -> None:
    # Of three photos, all are checked.
    three = dataclasses.replace(PHOTOS, image_ids=PHOTOS.image_ids[:3], jpegs=PHOTOS.jpegs[:3], votes=None)
    claimed = features[:3].copy()
    claimed[1] = features[2]
    wrong = check_features(model, three, claimed, SHARE)
    assert wrong is not None
    assert f"photo {PHOTOS.image_ids[1]} " in wrong


def test_which_photos_are_looked_at_changes_from_check_to_check(model: Nima, features: NDArray[np.float16]) -> None:
    half = features.copy()
    half[::2] = 0  # values that are average in all photos
    # A check of three of twelve photos misses the six wrong ones once in eleven times. In less than one of a billion
    # cases, twenty checks miss them or name one alone.
    found = {check_features(model, PHOTOS, half, SHARE) for _ in range(20)}
    assert len(found - {None}) > 1


@given(st.integers(0, 2**32 - 1))
def test_one_unit_in_the_last_place_is_no_deviation(seed: int) -> None:
    here = np.random.default_rng(seed).normal(0, 50, (4, 6)).astype(np.float16)
    there = np.nextafter(here, np.float16(np.inf))
    # Below fp16's normal numbers, units in the last place do not get smaller any more.
    np.testing.assert_allclose(deviations(there, here), 0, atol=6e-8)


@given(st.floats(0.2, 100), st.integers(0, 5))
def test_one_feature_that_is_off_is_enough(distance: float, feature: int) -> None:
    here = np.zeros((2, 6), dtype=np.float16)
    there = here.copy()
    there[1, feature] = distance
    untouched, off = deviations(there, here)
    assert untouched == 0
    assert off == pytest.approx(distance, rel=1e-3)


def test_honest_predictions_pass_and_a_false_one_is_found_where_it_is_looked_at(model: Nima) -> None:
    honest = predict(model, PHOTOS.jpegs)
    with torch.backends.mkldnn.flags(enabled=False):
        elsewhere = predict(model, PHOTOS.jpegs, batch_size=5)
    assert check_predictions(model, PHOTOS, elsewhere, 1.0) == (12, None)
    assert abs(elsewhere - honest).max() < PREDICTION_TOLERANCE / 10
    false = honest.copy()
    false[7] = np.roll(false[7], 1)
    checked, wrong = check_predictions(model, PHOTOS, false, 1.0)
    assert checked == 12
    assert wrong is not None
    assert f"photo {PHOTOS.image_ids[7]} " in wrong


@given(st.integers(0, 2000), st.floats(0, 1))
def test_the_share_decides_how_many_photos_are_computed_again(count: int, share: float) -> None:
    rows = chosen_rows(count, share)
    assert rows == sorted(set(rows))
    assert all(0 <= row < count for row in rows)
    assert len(rows) == (0 if share == 0 else min(count, max(AT_LEAST, int(np.ceil(share * count)))))


@pytest.mark.parametrize(("share", "fewest", "most"), [(0.1, 1, 1), (0.25, 2, 3), (1.0, 10, 10), (0.0, 0, 0)])
def test_the_share_decides_how_many_segments_are_computed_again(share: float, fewest: int, most: int) -> None:
    counts = {len(chosen_segments(10, share)) for _ in range(200)}
    assert (min(counts), max(counts)) == (fewest, most)
    seen = {segment for _ in range(500) for segment in chosen_segments(10, 0.1)}
    assert seen == set(range(10)), "every segment can be chosen"
