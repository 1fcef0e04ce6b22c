"""Training and prediction, compared with a textbook loop and with each other."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch
from drawn_photos import shard

from nima.model import preparation
from nima.model.network import Nima, initial_model
from nima.ratings.loss import emd
from nima.training import loop as training
from nima.training.activations import frozen_activations
from nima.training.loop import TrainingError, predict, standardise_features, train
from nima.wire.plan import TrainingPlan
from nima.wire.shards import Shard

BACKBONE = "mobilenet_v3_small"
PLAN = TrainingPlan(
    steps=3,
    batch_size=4,
    lr_backbone=1e-6,
    lr_head=1e-3,
    momentum=0.9,
    weight_decay=1e-3,
    trainable_blocks=3,
    seed=5,
    augment=False,
    dropout=0.0,
)


@pytest.fixture(scope="module")
def twelve() -> Shard:
    return shard(12)


@pytest.fixture
def fresh(twelve: Shard) -> Callable[..., Nima]:
    def make(multi_level: bool = False) -> Nima:
        model = initial_model(BACKBONE, None, 0, multi_level=multi_level)
        # Without this, the features of a random network hardly differ from image to image.
        standardise_features(model, twelve.jpegs)
        return model

    return make


def textbook_epoch(model: Nima, data: Shard, plan: TrainingPlan) -> None:
    """Runs one epoch of SGD with momentum, written out."""
    assert data.votes is not None
    images = model.preparation.central_crops(data.jpegs)
    votes = torch.tensor(data.votes, dtype=torch.float64)
    targets = (votes / votes.sum(dim=1, keepdim=True)).float()
    order = np.random.default_rng(plan.seed).permutation(len(data))
    trained = {
        name: parameter
        for name, parameter in model.named_parameters()
        if plan.trainable_blocks == -1
        or name.startswith("head.")
        or any(name.startswith(f"blocks.{len(model.blocks) - 1 - back}.") for back in range(plan.trainable_blocks))
    }
    velocity = {name: torch.zeros_like(parameter) for name, parameter in trained.items()}
    model.eval()  # no dropout in this plan, frozen BatchNorm
    for start in range(0, len(data), plan.batch_size):
        batch = order[start : start + plan.batch_size]
        model.zero_grad()
        difference = torch.cumsum(model(images[batch]).softmax(dim=1) - targets[batch], dim=1)
        loss = (difference.square().sum(dim=1) / 10).sqrt().sum() / len(batch)
        loss.backward()
        with torch.no_grad():
            for name, parameter in trained.items():
                assert parameter.grad is not None
                gradient = parameter.grad + plan.weight_decay * parameter
                velocity[name] = plan.momentum * velocity[name] + gradient
                rate = plan.lr_head if name.startswith("head.") else plan.lr_backbone
                parameter -= rate * velocity[name]


@pytest.mark.parametrize("blocks", [0, 3, -1])
def test_an_epoch_equals_a_textbook_loop(twelve: Shard, blocks: int, fresh: Callable[..., Nima]) -> None:
    plan = dataclasses.replace(PLAN, trainable_blocks=blocks)
    ours, textbook = fresh(), fresh()
    start = {name: tensor.clone() for name, tensor in ours.state_dict().items()}
    train(ours, [twelve], plan)
    textbook_epoch(textbook, twelve, plan)
    for name, tensor in ours.state_dict().items():
        torch.testing.assert_close(tensor, textbook.state_dict()[name], rtol=0, atol=1e-6)
    moved = {name: (tensor - start[name]).abs().max().item() for name, tensor in ours.named_parameters()}
    assert all(moved[name] == 0 for name in moved.keys() - ours.trainable_parameters(blocks).keys())
    # Far more than the tolerance; otherwise the comparison would say nothing.
    assert moved["head.weight"] > 1e-4
    assert blocks == 0 or max(moved[name] for name in moved if name.startswith("blocks.")) > 1e-4


def test_a_source_of_the_frozen_outputs_is_asked_in_place_of_the_photos(
    twelve: Shard, fresh: Callable[..., Nima], monkeypatch: pytest.MonkeyPatch
) -> None:
    without, given = fresh(True), fresh(True)
    train(without, [twelve], PLAN)
    given.train_last(PLAN.trainable_blocks)
    outputs = frozen_activations(given, given.preparation.central_crops(twelve.jpegs))
    monkeypatch.setattr(preparation, "decode_image", lambda stored: pytest.fail("a photo is decoded"))
    train(given, [twelve], PLAN, frozen=outputs.take)
    for name, tensor in without.state_dict().items():
        assert torch.equal(tensor, given.state_dict()[name]), name


def test_activations_of_an_image_do_not_depend_on_the_others(twelve: Shard, fresh: Callable[..., Nima]) -> None:
    model = fresh(True)
    model.train_last(2)
    pixels = model.preparation.central_crops(twelve.jpegs)
    together = frozen_activations(model, pixels)
    for rows in (slice(0, 1), slice(3, 6), slice(2, 12)):
        alone = frozen_activations(model, pixels[rows])
        for one, all_of_them in zip((alone.maps, *alone.levels), (together.maps, *together.levels), strict=True):
            assert torch.equal(one, all_of_them[rows])


def vector(model: Nima) -> torch.Tensor:
    return torch.cat([parameter.detach().reshape(-1) for parameter in model.parameters()])


@pytest.mark.parametrize("blocks", [1, -1])
def test_a_step_is_the_same_however_the_batch_is_divided(
    twelve: Shard, blocks: int, fresh: Callable[..., Nima], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, start = dataclasses.replace(PLAN, trainable_blocks=blocks, batch_size=12, steps=2), vector(fresh())
    changes = []
    for micro_batch in (12, 5):
        monkeypatch.setattr(training, "MICRO_BATCH", micro_batch)
        model = fresh()
        train(model, [twelve], plan)
        changes.append(vector(model) - start)
    assert (changes[0] - changes[1]).norm() < 1e-3 * changes[0].norm()


def test_equal_plans_give_equal_weights_and_other_seeds_others(twelve: Shard, fresh: Callable[..., Nima]) -> None:
    plan = dataclasses.replace(PLAN, augment=True, dropout=0.5, steps=2)
    heads = []
    for seed in (5, 5, 6):
        torch.manual_seed(len(heads))  # independent of the state of the process
        model = fresh()
        train(model, [twelve], dataclasses.replace(plan, seed=seed))
        heads.append(model.head.weight.detach().clone())
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])


def test_training_learns(twelve: Shard, fresh: Callable[..., Nima]) -> None:
    assert twelve.votes is not None
    model = fresh(multi_level=True)
    targets = torch.tensor(twelve.votes / twelve.votes.sum(axis=1, keepdims=True), dtype=torch.float32)
    before = emd(torch.from_numpy(predict(model, twelve.jpegs)), targets).item()
    report = train(model, [twelve], dataclasses.replace(PLAN, trainable_blocks=0, steps=60))
    after = emd(torch.from_numpy(predict(model, twelve.jpegs)), targets).item()
    assert after < 0.7 * before
    assert report.loss < 0.7 * before


def test_the_report_counts_and_progress_is_told(twelve: Shard, fresh: Callable[..., Nima]) -> None:
    steps: list[tuple[int, float]] = []
    report = train(
        fresh(), [twelve], dataclasses.replace(PLAN, steps=20), lambda step, loss: steps.append((step, loss))
    )
    assert [step for step, _ in steps] == list(range(1, 21))
    assert (report.steps, report.samples) == (20, 80)
    assert report.loss == pytest.approx(np.mean([loss for _, loss in steps[-2:]]))
    assert report.seconds > 0


def test_a_batch_larger_than_the_shard_is_the_whole_shard(twelve: Shard, fresh: Callable[..., Nima]) -> None:
    assert train(fresh(), [twelve], dataclasses.replace(PLAN, steps=2, batch_size=100)).samples == 24


def test_every_image_is_seen_once_an_epoch() -> None:
    plan = dataclasses.replace(PLAN, steps=5, batch_size=4)
    seen = np.concatenate(list(training._batches(10, plan)))
    assert sorted(seen[:10]) == sorted(seen[10:]) == list(range(10))
    assert seen[:10].tolist() != seen[10:].tolist()


def test_predictions_do_not_depend_on_the_batch(twelve: Shard, fresh: Callable[..., Nima]) -> None:
    model = fresh()
    model.train()
    expected = predict(model, twelve.jpegs, batch_size=12)
    assert expected.shape == (12, 10)
    assert expected.dtype == np.float32
    np.testing.assert_allclose(expected.sum(axis=1), 1, atol=1e-6)
    for batch_size in (1, 5):
        np.testing.assert_allclose(predict(model, twelve.jpegs, batch_size), expected, rtol=0, atol=1e-5)
    assert predict(model, []).shape == (0, 10)


def test_a_loss_that_is_not_finite_ends_the_run(twelve: Shard, fresh: Callable[..., Nima]) -> None:
    model = fresh()
    with torch.no_grad():
        model.head.bias[0] = float("nan")
    with pytest.raises(TrainingError, match="not finite after step 1"):
        train(model, [twelve], PLAN)


def test_shards_without_votes_or_images_are_refused(twelve: Shard, fresh: Callable[..., Nima]) -> None:
    for shards in ([], [dataclasses.replace(twelve, votes=None)], [twelve, dataclasses.replace(twelve, votes=None)]):
        with pytest.raises(TrainingError, match="votes in every shard"):
            train(fresh(), shards, PLAN)


def test_fedprox_pulls_every_step_back_to_the_received_parameters(fresh: Callable[..., Nima], twelve: Shard) -> None:
    def after(steps: int, proximal: float) -> torch.Tensor:
        model = fresh()
        train(model, [twelve], dataclasses.replace(PLAN, momentum=0.0, steps=steps, proximal=proximal))
        return model.head.weight.detach().double()

    received = fresh().head.weight.detach().double()
    once = after(1, 0.0)
    # Nothing has changed before the first step; in the second, the gradient of µ/2·‖w − w₀‖² is µ·(w − w₀).
    assert torch.equal(after(1, 50.0), once)
    pull = after(2, 50.0) - after(2, 0.0)
    torch.testing.assert_close(pull, -PLAN.lr_head * 50.0 * (once - received), rtol=1e-3, atol=1e-7)
    assert pull.abs().max() > 1e-6
