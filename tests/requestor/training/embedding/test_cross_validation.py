"""Cross-validation of the head: no photo is predicted by a head that has seen its votes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ava_folder import make_ava_folder

from nima.ava import read_ratings, read_split
from nima.model import checkpoint, initial_model
from nima.training import embed, standardise_features
from nima.wire import encode_features, read_shard
from requestor.training.data import RatedPhotos, make_shards
from requestor.training.embedding.cross_validation import FOLDS, _predicted_in_folds, cross_validate
from requestor.training.embedding.feature_store import KeptFeatures, parts_of

BACKBONE = "mobilenet_v3_small"


@pytest.mark.parametrize("prior", [True, False])
def test_the_votes_of_a_photo_do_not_change_its_own_prediction(prior: bool) -> None:
    random = np.random.default_rng(1)
    model = initial_model(BACKBONE, None, 0)
    features = random.normal(size=(20, model.head.in_features)).astype(np.float16)
    votes = random.integers(0, 9, (20, 10)).astype(np.int32) + 1
    before = _predicted_in_folds(model, features, votes, 0, prior)
    fold = np.array_split(np.random.default_rng(0).permutation(20), FOLDS)[2]
    votes[fold] = [9000, *[1] * 9]
    after = _predicted_in_folds(initial_model(BACKBONE, None, 0), features, votes, 0, prior)
    others = np.setdiff1d(np.arange(20), fold)
    np.testing.assert_array_equal(after[fold], before[fold])
    assert np.abs(after[others] - before[others]).max() > 1e-3


def test_all_photos_count_those_for_testing_and_of_the_hold_out_too(tmp_path: Path) -> None:
    ava = make_ava_folder(tmp_path / "ava", images=40, tested=4)
    ratings, tested = read_ratings(ava), read_split(ava / "splits" / "test.txt").image_ids
    for name in ("store", "home"):
        (tmp_path / name).mkdir()
    dataset = make_shards(
        RatedPhotos(ava, ratings, tested), 2, BACKBONE, 0, tmp_path / "store", tmp_path / "home", lambda *_: None
    )
    model = initial_model(BACKBONE, None, 0, prior=ratings.votes.sum(axis=0), multi_level=True)
    standardise_features(model, read_shard(dataset.holdout.path).jpegs)
    checkpoint.save(tmp_path / "base", model, {})
    kept = KeptFeatures(tmp_path / "embedding" / "features")
    for part in parts_of(dataset):
        shard = read_shard(part.path)
        encode_features(tmp_path / "features", shard.image_ids, embed(model, shard.jpegs))
        kept.keep("local-1", part.sha256, tmp_path / "features")
    pairs = cross_validate(dataset, ratings, tmp_path / "base", tmp_path / "embedding", 0, prior=True)
    metrics = pairs.metrics()
    assert metrics.n == 40
    assert metrics.srcc_mean > 0.5  # the ratings of these photos follow from their brightness
    again = cross_validate(dataset, ratings, tmp_path / "base", tmp_path / "embedding", 0, prior=True)
    assert again.metrics() == metrics
    assert [path.name for path in (tmp_path / "embedding").iterdir()] == ["features"]
