"""Wrong features are found, and honest ones from another machine are accepted."""

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
from nima.training.loop import standardise_features
from requestor.training.embedding.spot_check import TOLERANCE, deviations, spot_check

PHOTOS = shard(12)


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
        assert spot_check(model, PHOTOS, claimed) is None
    # All of them, not only those that a check would examine.
    assert deviations(elsewhere, features).max() < TOLERANCE / 10


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
    wrong = spot_check(model, PHOTOS, lie(features))
    assert wrong is not None
    assert "standard deviations off" in wrong


def test_one_wrong_photo_is_named_where_it_is_looked_at(model: Nima, features: NDArray[np.float16]) -> None:
    # Of three photos, all are checked.
    three = dataclasses.replace(PHOTOS, image_ids=PHOTOS.image_ids[:3], jpegs=PHOTOS.jpegs[:3], votes=None)
    claimed = features[:3].copy()
    claimed[1] = features[2]
    wrong = spot_check(model, three, claimed)
    assert wrong is not None
    assert f"photo {PHOTOS.image_ids[1]} " in wrong


def test_which_photos_are_looked_at_changes_from_check_to_check(model: Nima, features: NDArray[np.float16]) -> None:
    half = features.copy()
    half[::2] = 0  # values that are average in all photos
    # A check of three of twelve photos misses the six wrong ones once in eleven times. In less than one of a billion
    # cases, twenty checks miss them or name one alone.
    found = {spot_check(model, PHOTOS, half) for _ in range(20)}
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
