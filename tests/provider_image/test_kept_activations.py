"""A provider computes the frozen blocks once per photo, and trains in every round as if it computed them each time."""

from __future__ import annotations

import copy
import dataclasses
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from drawn_photos import shard
from spread_model import keep_scale

from nima.errors import NimaError
from nima.model import preparation
from nima.model.network import Activations, Nima, initial_model
from nima.training import loop as training
from nima.training.activations import FrozenSource, frozen_activations
from nima.wire.plan import TrainingPlan
from provider_image import kept_activations
from provider_image.activation_rows import RowLayout
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
    return copy.deepcopy(made_once())


@cache
def made_once() -> Nima:
    made = initial_model("mobilenet_v3_small", None, 0, multi_level=True)
    keep_scale(made, made.preparation.central_crops([jpeg for shard in SHARDS for jpeg in shard.jpegs]))
    return made


def changed() -> Nima:
    """Returns a model whose first block is another one."""
    other = model()
    with torch.no_grad():
        next(other.blocks[0].parameters()).mul_(1.1)
    return other


@contextmanager
def kept(
    store: Path, plan: TrainingPlan = PLAN, network: Nima | None = None, names: Sequence[str] = NAMES
) -> Iterator[FrozenSource]:
    with keep_activations(store, names, network or model(), SHARDS, plan) as source:
        assert source is not None
        yield source


def trained(store: Path, plan: TrainingPlan = PLAN, network: Nima | None = None) -> dict[str, torch.Tensor]:
    network = network or model()
    with kept(store, plan, network) as source:
        training.train(network, SHARDS, plan, frozen=source)
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


@pytest.mark.parametrize("blocks", [0, 1, 3])
def test_what_is_read_is_what_was_computed_to_the_bit(tmp_path: Path, blocks: int) -> None:
    network, plan, photos = model(), dataclasses.replace(PLAN, trainable_blocks=blocks), np.array([7, 0, 10])
    with kept(tmp_path, plan, network) as source:
        computed = source(photos)
    with kept(tmp_path, plan, network) as source:
        read = source(photos)
    jpegs = [jpeg for shard in SHARDS for jpeg in shard.jpegs]
    exact = frozen_activations(network, network.preparation.central_crops([jpegs[photo] for photo in photos]))
    assert len(read.levels) == len(exact.levels)
    for first, second, right in zip(
        (computed.maps, *computed.levels), (read.maps, *read.levels), (exact.maps, *exact.levels), strict=True
    ):
        assert torch.equal(first, second)
        torch.testing.assert_close(second, right, rtol=2**-11, atol=1e-7)
        assert right.std(dim=0).max() > 0.01  # the photos differ by far more than the tolerance
    assert all(torch.equal(level, right) for level, right in zip(read.levels, exact.levels, strict=True))


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 2, 3, 1), (0, 3, 1, 2)])
@pytest.mark.parametrize("levels", [(), (2, 5)])
def test_rows_keep_the_order_of_the_values_in_memory(order: tuple[int, ...], levels: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    shape = (4, 3, 5, 6)
    maps = torch.empty_permuted(shape, order).copy_(torch.randn(shape).half())
    activations = Activations(maps, tuple(torch.randn(4, size) for size in levels))
    layout = RowLayout(activations.take(slice(1)))
    rows = layout.rows_of(activations)
    assert rows.nbytes == 4 * (2 * 3 * 5 * 6 + 4 * sum(levels))
    back = layout.activations_of(rows)
    assert back.maps.dtype == torch.float32
    assert back.maps.stride() == maps.stride()
    for left, right in zip((back.maps, *back.levels), (maps, *activations.levels), strict=True):
        assert torch.equal(left, right)


def test_values_beyond_half_precision_are_clipped() -> None:
    activations = Activations(torch.tensor([[[1e6, -1e6]]]))
    layout = RowLayout(activations)
    assert layout.activations_of(layout.rows_of(activations)).maps.tolist() == [[[65504.0, -65504.0]]]


@pytest.mark.parametrize("blocks", [0, 1])
def test_later_rounds_are_the_same_to_the_bit_and_decode_no_photo(
    tmp_path: Path, blocks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = dataclasses.replace(PLAN, trainable_blocks=blocks)
    first = trained(tmp_path, plan)
    monkeypatch.setattr(preparation, "decode_image", lambda stored: pytest.fail("a photo is decoded again"))
    second = trained(tmp_path, plan)
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def test_half_precision_changes_what_is_learnt_by_less_than_a_thousandth(tmp_path: Path) -> None:
    start, exact = model(), model()
    training.train(exact, SHARDS, PLAN)
    learnt = trained(tmp_path)
    for name, tensor in exact.trainable_parameters(PLAN.trainable_blocks).items():
        change = tensor.detach() - start.state_dict()[name]
        assert change.norm() > 1e-6, name
        assert (learnt[name] - tensor.detach()).norm() <= 1e-3 * change.norm(), name


def test_only_photos_of_the_steps_are_computed_and_others_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[bytes] = []
    decode = preparation.decode_image
    monkeypatch.setattr(preparation, "decode_image", lambda stored: (decoded.append(stored), decode(stored))[1])
    trained(tmp_path, dataclasses.replace(PLAN, steps=1))
    assert len(decoded) == 4
    with kept(tmp_path) as source:
        source(np.arange(11))
        assert len(decoded) == len(set(decoded)) == 11
        source(np.arange(11))
    assert len(decoded) == 11


def test_a_shard_is_kept_for_jobs_with_other_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with kept(tmp_path) as source:
        expected = source(np.arange(6, 11)).maps
    monkeypatch.setattr(preparation, "decode_image", lambda stored: pytest.fail("a photo is decoded again"))
    with keep_activations(tmp_path, NAMES[1:], model(), SHARDS[1:], PLAN) as alone:
        assert alone is not None
        assert torch.equal(alone(np.arange(5)).maps, expected)


def test_other_photos_blocks_or_plans_are_not_mixed_up(tmp_path: Path) -> None:
    trained(tmp_path)
    trained(tmp_path, network=changed())
    trained(tmp_path, dataclasses.replace(PLAN, trainable_blocks=2))
    with kept(tmp_path, names=("a", "c")):
        pass
    assert len(list(tmp_path.iterdir())) == 7
    trained(tmp_path, dataclasses.replace(PLAN, seed=4))
    assert len(list(tmp_path.iterdir())) == 7, "the order of the photos is the round's, not theirs"


@pytest.mark.parametrize("content", [b"", b"damaged", None])
def test_a_damaged_file_is_made_again(tmp_path: Path, content: bytes | None) -> None:
    plan = dataclasses.replace(PLAN, steps=3)  # all eleven photos
    expected = trained(tmp_path, plan)
    whole = {file: file.read_bytes() for file in tmp_path.iterdir()}
    for file, right in whole.items():
        file.write_bytes(right[:-1] if content is None else content)
    again = trained(tmp_path, plan)
    assert all(torch.equal(tensor, again[name]) for name, tensor in expected.items())
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == whole


@pytest.mark.parametrize("change", [{"augment": True}, {"trainable_blocks": -1}])
def test_nothing_is_kept_where_nothing_is_the_same_twice(tmp_path: Path, change: dict[str, object]) -> None:
    with keep_activations(tmp_path, NAMES, model(), SHARDS, dataclasses.replace(PLAN, **change)) as source:
        assert source is None
    assert list(tmp_path.iterdir()) == []


def test_without_room_activations_are_computed_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = trained(tmp_path / "nowhere", network=changed())
    trained(tmp_path)
    largest = max(path.stat().st_size for path in tmp_path.iterdir())
    monkeypatch.setattr(kept_activations, "MOST_BYTES", largest)
    again = trained(tmp_path, network=changed())  # in the place of the files that are there
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= largest
    assert all(torch.equal(tensor, again[name]) for name, tensor in expected.items())


def test_the_files_that_were_not_used_for_the_longest_time_go_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("oldest", "older", "a", "b"):
        with keep_activations(tmp_path, (name,), model(), SHARDS[:1], PLAN):
            pass
        for path in tmp_path.iterdir():
            os.utime(path, times=(0, path.stat().st_mtime - 100))
    oldest, older, *_ = sorted(tmp_path.iterdir(), key=lambda path: path.stat().st_mtime)
    monkeypatch.setattr(kept_activations, "MOST_BYTES", 4 * oldest.stat().st_size)
    with keep_activations(tmp_path, ("a", "c"), model(), [SHARDS[0], SHARDS[0]], PLAN):
        pass
    assert len(list(tmp_path.iterdir())) == 4
    assert not oldest.exists()
    assert older.exists()


def test_a_photo_that_cannot_be_decoded_is_an_error_still(tmp_path: Path) -> None:
    broken = dataclasses.replace(SHARDS[0], jpegs=[b"x"] * 6)
    with keep_activations(tmp_path, ("a",), model(), [broken], PLAN) as source:
        assert source is not None
        with pytest.raises(NimaError):
            source(np.arange(1))
