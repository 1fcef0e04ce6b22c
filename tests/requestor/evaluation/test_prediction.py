"""Predictions for AVA's photos: the same digits on this machine and from the provider's program."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
from ava_folder import make_ava_folder

from nima.ava.ratings_list import read_ratings
from nima.errors import NimaError
from nima.model import checkpoint
from nima.model.network import initial_model
from requestor.backends.local import LocalBackend
from requestor.evaluation.prediction import predict_here, predict_on


@pytest.fixture(scope="module")
def ava(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_ava_folder(tmp_path_factory.mktemp("data") / "ava", images=40)


@pytest.mark.parametrize("part", ["crop", "whole"])
def test_here_and_on_providers_every_digit_is_the_same(part: str, ava: Path, tmp_path: Path) -> None:
    model, network = tmp_path / "model.safetensors", initial_model("mobilenet_v3_small", None, seed=1)
    network.preparation = network.preparation.with_part(part)
    checkpoint.save(model, network, {})
    ids = read_ratings(ava).image_ids
    (tmp_path / "inbox").mkdir()
    (tmp_path / "store").mkdir()

    here = predict_here(model, ava, ids, lambda done, total: None)
    backend = LocalBackend(1, tmp_path / "inbox")
    there = asyncio.run(predict_on(backend, model, ava, ids, tmp_path / "store", lambda done, total: None))
    np.testing.assert_array_equal(here.image_ids, ids)
    np.testing.assert_array_equal(there.image_ids, ids)
    np.testing.assert_array_equal(here.probabilities, there.probabilities)


def test_photos_that_cannot_be_read_are_left_out_and_none_at_all_is_an_error(tmp_path: Path) -> None:
    ava = make_ava_folder(tmp_path / "ava", images=12)
    model = tmp_path / "model.safetensors"
    checkpoint.save(model, initial_model("mobilenet_v3_small", None, seed=1), {})
    (ava / "images" / "1003.jpg").write_bytes(b"no photo")
    ids = np.arange(1000, 1012)
    assert 1003 not in predict_here(model, ava, ids, lambda done, total: None).image_ids
    with pytest.raises(NimaError, match="No photo"):
        predict_here(model, ava, np.array([1003]), lambda done, total: None)
