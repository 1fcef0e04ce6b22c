"""A provider computes the frozen blocks once per photo, and trains in every round as if it computed them each time."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from drawn_photos import shard

from nima.errors import NimaError
from nima.model import preparation
from nima.model.network import Nima, initial_model
from nima.training import loop as training
from nima.wire.plan import TrainingPlan
from provider_image.kept_activations import keep_activations

PLAN = TrainingPlan(
    steps=4,
    batch_size=4,
    lr_backbone=1e-3,
    lr_head=1e-2,
    momentum=0.9,
    weight_decay=0.0,
    trainable_blocks=1,
    seed=3,
    augment=False,
)
SHARDS, NAMES = [shard(6), shard(5, first=50)], ("a", "b")


def model() -> Nima:
    return initial_model("mobilenet_v3_small", None, 0, multi_level=True)


def trained(store: Path | None, plan: TrainingPlan, start: Nima | None = None) -> dict[str, torch.Tensor]:
    network = start or model()
    frozen = keep_activations(store, NAMES, network, SHARDS, plan) if store else None
    training.train(network, SHARDS, plan, frozen=frozen)
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


@pytest.mark.parametrize("blocks", [0, 1, 3])
def test_training_is_the_same_to_the_bit(tmp_path: Path, blocks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = dataclasses.replace(PLAN, trainable_blocks=blocks)
    without, first = trained(None, plan), trained(tmp_path, plan)
    monkeypatch.setattr(preparation, "decode_image", lambda stored: pytest.fail("a photo is decoded again"))
    second = trained(tmp_path, plan)
    for name, tensor in without.items():
        assert torch.equal(tensor, first[name]), name
        assert torch.equal(tensor, second[name]), name


def test_other_photos_blocks_or_plans_are_not_mixed_up(tmp_path: Path) -> None:
    trained(tmp_path, PLAN)
    other = model()
    with torch.no_grad():
        next(other.blocks[0].parameters()).mul_(1.1)
    trained(tmp_path, PLAN, other)
    trained(tmp_path, dataclasses.replace(PLAN, trainable_blocks=2))
    keep_activations(tmp_path, ("a", "c"), model(), SHARDS, PLAN)
    assert len(list(tmp_path.iterdir())) == 4
    trained(tmp_path, dataclasses.replace(PLAN, seed=4))
    assert len(list(tmp_path.iterdir())) == 4, "the order of the photos is the round's, not theirs"


@pytest.mark.parametrize("content", [b"", b"damaged", None])
def test_a_damaged_file_is_made_again(tmp_path: Path, content: bytes | None) -> None:
    expected = trained(tmp_path, PLAN)
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] if content is None else content)
    again = trained(tmp_path, PLAN)
    assert all(torch.equal(tensor, again[name]) for name, tensor in expected.items())
    assert file.read_bytes() == whole


@pytest.mark.parametrize("change", [{"augment": True}, {"trainable_blocks": -1}])
def test_nothing_is_kept_where_nothing_is_the_same_twice(tmp_path: Path, change: dict[str, object]) -> None:
    assert keep_activations(tmp_path, NAMES, model(), SHARDS, dataclasses.replace(PLAN, **change)) is None
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_costs_time_only(tmp_path: Path) -> None:
    kept = keep_activations(tmp_path / "nowhere", NAMES, model(), SHARDS, PLAN)
    assert kept is not None
    assert len(kept.maps) == 11


def test_a_photo_that_cannot_be_decoded_is_an_error_still(tmp_path: Path) -> None:
    broken = dataclasses.replace(SHARDS[0], jpegs=[b"x"] * 6)
    with pytest.raises(NimaError):
        keep_activations(tmp_path, NAMES, model(), [broken], PLAN)
