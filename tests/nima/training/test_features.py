"""Features: one machine computes them, another trains a head on them."""

from __future__ import annotations

import copy
import dataclasses
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from drawn_photos import shard
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load, save

from nima.errors import NimaError
from nima.model.network import Nima, initial_model
from nima.training.features import embed
from nima.training.head import train_head
from nima.training.loop import TrainingError, predict, standardise_features, train
from nima.wire.features import FeaturesError, decode_features, encode_features, max_features_bytes
from nima.wire.plan import TrainingPlan

PLAN = TrainingPlan(
    steps=12,
    batch_size=4,
    lr_backbone=0.0,
    lr_head=0.01,
    momentum=0.9,
    weight_decay=1e-4,
    trainable_blocks=0,
    seed=3,
    augment=False,
    dropout=0.5,
)
IDS = np.array([7, 3, 11], dtype=np.int64)
FEATURES = np.arange(12, dtype=np.float16).reshape(3, 4)


def model(multi_level: bool) -> Nima:
    return copy.deepcopy(made_once(multi_level))


@cache
def made_once(multi_level: bool) -> Nima:
    made = initial_model("mobilenet_v3_small", None, 0, multi_level=multi_level)
    standardise_features(made, shard(8).jpegs)
    return made


@pytest.mark.parametrize("multi_level", [False, True])
def test_the_head_on_features_predicts_what_the_model_does(multi_level: bool) -> None:
    nima, photos = model(multi_level), shard(5)
    features = embed(nima, photos.jpegs, batch_size=2)
    assert features.dtype == np.float16
    assert features.shape == (5, nima.head.in_features)
    with torch.inference_mode():
        predicted = nima.rate(torch.from_numpy(features).float()).softmax(dim=1).numpy()
    np.testing.assert_allclose(predicted, predict(nima, photos.jpegs), atol=1e-3)


def test_features_do_not_depend_on_what_is_trained_later() -> None:
    nima, photos = model(True), shard(3)
    before = embed(nima, photos.jpegs)
    nima.train_last(2)
    np.testing.assert_array_equal(embed(nima, photos.jpegs), before)


def test_of_no_photo_there_are_no_features() -> None:
    nima = model(False)
    assert embed(nima, []).shape == (0, nima.head.in_features)


@pytest.mark.parametrize("multi_level", [False, True])
def test_training_on_features_is_training_the_head_and_averaging_its_last_half(multi_level: bool) -> None:
    photos = shard(10)
    usual, quick = model(multi_level), model(multi_level)
    heads: list[torch.Tensor] = []
    report = train(usual, [photos], PLAN, lambda step, loss: heads.append(usual.head.weight.detach().clone()))
    quick_report = train_head(quick, embed(quick, photos.jpegs), photos.votes, PLAN)
    assert quick_report.samples == report.samples == 48
    assert quick_report.loss == pytest.approx(report.loss, rel=1e-2)
    mean = torch.stack(heads[6:]).mean(dim=0)  # of the last six of twelve steps
    learnt = mean - model(multi_level).head.weight
    assert (quick.head.weight - mean).norm() < 0.02 * learnt.norm()
    for name, values in quick.state_dict().items():
        if not name.startswith("head."):
            assert torch.equal(values, usual.state_dict()[name]), name


def test_equal_seeds_train_equal_heads() -> None:
    photos = shard(6)
    first, second = model(True), model(True)
    features = embed(first, photos.jpegs)
    for nima in (first, second):
        train_head(nima, features, photos.votes, PLAN)
    assert torch.equal(first.head.weight, second.head.weight)


def test_a_head_cannot_be_trained_on_nothing_or_by_a_plan_for_the_backbone() -> None:
    nima = model(False)
    size = nima.head.in_features
    with pytest.raises(TrainingError, match="at least one image"):
        train_head(nima, np.empty((0, size), dtype=np.float16), np.empty((0, 10)), PLAN)
    features = np.zeros((2, size), dtype=np.float16)
    for change in ({"trainable_blocks": 1}, {"augment": True}):
        with pytest.raises(ValueError, match="only the head"):
            train_head(nima, features, np.ones((2, 10)), dataclasses.replace(PLAN, **change))


@given(
    st.lists(st.integers(0, 2**62), min_size=1, max_size=8, unique=True),
    st.integers(1, 20),
    st.integers(0, 2**32 - 1),
)
def test_what_is_written_is_read_and_within_its_bound(
    tmp_path_factory: pytest.TempPathFactory, ids: list[int], size: int, seed: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "features"
    image_ids = np.array(ids, dtype=np.int64)
    features = np.random.default_rng(seed).normal(0, 100, (len(ids), size)).astype(np.float16)
    encode_features(path, image_ids, features)
    np.testing.assert_array_equal(decode_features(path, image_ids, size), features)
    assert path.stat().st_size <= max_features_bytes(len(ids), size)


def test_features_may_be_written_in_parts_of_any_length(tmp_path: Path) -> None:
    path = tmp_path / "features"
    encode_features(path, IDS, (part for part in (FEATURES[:2], FEATURES[2:2], FEATURES[2])))
    assert path.read_bytes() == save({"image_ids": IDS, "features": FEATURES})
    for parts in ([FEATURES[:2]], [FEATURES, FEATURES[0]]):
        with pytest.raises(FeaturesError, match="but 3 ids"):
            encode_features(tmp_path / "other", IDS, parts)
    assert [file.name for file in tmp_path.iterdir()] == ["features"]


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_what_fp16_cannot_hold_is_not_written(tmp_path: Path, value: float) -> None:
    with pytest.raises(FeaturesError, match="not finite"):
        encode_features(tmp_path / "features", IDS, np.where(FEATURES == 5, np.float16(value), FEATURES))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no safetensors file"),
        (b"\x80\x04\x95garbage that a pickle might begin with", "no safetensors file"),
        (save({"image_ids": IDS}), "does not hold"),
        (save({"image_ids": IDS, "features": FEATURES, "more": IDS}), "does not hold"),
        (save({"image_ids": IDS[::-1].copy(), "features": FEATURES}), "not about the images"),
        (save({"image_ids": IDS[:2], "features": FEATURES[:2]}), "not about the images"),
        (save({"image_ids": IDS.astype(np.int32), "features": FEATURES}), "not about the images"),
        (save({"image_ids": IDS, "features": FEATURES.astype(np.float32)}), "not float16"),
        (save({"image_ids": IDS, "features": FEATURES[:, :3].copy()}), "not float16"),
        (save({"image_ids": IDS, "features": FEATURES.reshape(-1)}), "not float16"),
        (save({"image_ids": IDS, "features": FEATURES * np.float16(np.nan)}), "not finite"),
        (save({"image_ids": IDS, "features": np.full_like(FEATURES, np.inf)}), "not finite"),
        (save({"image_ids": IDS, "features": np.zeros((3, 4000), np.float16)}), "larger than"),
    ],
)
def test_a_file_that_is_not_exactly_right_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "features"
    path.write_bytes(content)
    with pytest.raises(NimaError, match=reason):
        decode_features(path, IDS, 4)


def test_a_file_is_named_where_it_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FeaturesError, match="absent could not be read"):
        decode_features(tmp_path / "absent", IDS, 4)
    with pytest.raises(FeaturesError, match="could not be written"):
        encode_features(tmp_path / "absent" / "file", IDS, FEATURES)


def test_the_file_holds_nothing_else(tmp_path: Path) -> None:
    encode_features(tmp_path / "features", IDS, FEATURES)
    assert load((tmp_path / "features").read_bytes()).keys() == {"image_ids", "features"}
