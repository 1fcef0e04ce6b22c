"""The model: frozen parameters, trained parameters, and initial values."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from spread_model import keep_scale
from torch import nn

from nima.model.network import Nima, initial_model
from nima.ratings.distribution import normalise_votes

BACKBONE = "mobilenet_v3_small"


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def test_equal_seeds_give_equal_models_and_leave_torchs_own_generator_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first, second, third = (initial_model(BACKBONE, None, seed) for seed in (1, 1, 2))
    assert torch.rand(1) == expected
    for name, tensor in first.state_dict().items():
        assert torch.equal(second.state_dict()[name], tensor), name
    assert not torch.equal(third.head.weight, first.head.weight)


def test_it_starts_as_the_prior(images: torch.Tensor) -> None:
    prior = np.array([1, 2, 4, 10, 30, 30, 12, 6, 3, 2])
    model = initial_model(BACKBONE, None, 0, prior=prior).eval()
    model.standardise_features([images])
    with torch.no_grad():
        model.head.weight.zero_()
        p = model(images).softmax(dim=1)
    np.testing.assert_allclose(p.numpy(), np.tile(normalise_votes(prior), (4, 1)), atol=1e-3)


def test_blocks_are_trained_from_the_end() -> None:
    model = initial_model(BACKBONE, None, 0)
    total = len(model.blocks)
    assert set(model.trainable_parameters(0)) == {"head.weight", "head.bias"}
    assert {n.split(".")[1] for n in model.trainable_parameters(2) if n.startswith("blocks")} == {
        str(total - 2),
        str(total - 1),
    }
    assert set(model.trainable_parameters(-1)) == {n for n, _ in model.named_parameters()}
    assert model.trainable_parameters(total + 5).keys() == model.trainable_parameters(-1).keys()


def test_training_mode_reaches_neither_batch_norm_nor_frozen_blocks(images: torch.Tensor) -> None:
    model = initial_model(BACKBONE, None, 0)
    model.train_last(2)
    model.train()
    assert not any(m.training for m in model.modules() if isinstance(m, nn.BatchNorm2d))
    assert [block.training for block in model.blocks] == [False] * (len(model.blocks) - 2) + [True, True]
    before = {n: b.clone() for n, b in model.named_buffers()}
    model(images)
    assert all(torch.equal(b, before[n]) for n, b in model.named_buffers())


@pytest.mark.parametrize("multi_level", [False, True])
@pytest.mark.parametrize("blocks", [0, 3, -1])
def test_frozen_and_after_frozen_make_up_the_whole(images: torch.Tensor, multi_level: bool, blocks: int) -> None:
    model = initial_model(BACKBONE, None, 0, multi_level=multi_level).eval()
    keep_scale(model, images)
    with torch.no_grad():
        expected = model(images)
        assert expected.std(dim=0).min() > 0.005  # the images differ by far more than the tolerance
        model.train_last(blocks)
        activations = model.frozen(images)
        torch.testing.assert_close(model.after_frozen(activations), expected)
        torch.testing.assert_close(model.after_frozen(activations.take([2, 0])), expected[[2, 0]])


def test_each_group_has_its_own_learning_rate() -> None:
    model = initial_model(BACKBONE, None, 0)
    model.train_last(1)
    backbone, head = model.parameter_groups(lr_backbone=0.1, lr_head=0.2)
    assert (backbone["lr"], head["lr"]) == (0.1, 0.2)
    assert {id(p) for p in head["params"]} == {id(model.head.weight), id(model.head.bias)}
    assert {id(p) for p in backbone["params"] + head["params"]} == {
        id(p) for p in model.trainable_parameters(1).values()
    }
    model.train_last(0)
    assert [group["lr"] for group in model.parameter_groups(0.1, 0.2)] == [0.2]


def test_a_head_can_be_fitted_to_other_standards_and_predicts_what_it_did(images: torch.Tensor) -> None:
    model = initial_model("mobilenet_v3_small", None, 1)
    model.standardise_features([images])
    with torch.no_grad():
        model.head.weight.normal_()
        before = model.eval()(images)
    model.standardise_features([images[:2]], keep_predictions=True)
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(images), before, rtol=1e-3, atol=1e-3)


def test_standardised_features_have_mean_zero_and_deviation_one(images: torch.Tensor) -> None:
    model: Nima = initial_model(BACKBONE, None, 0, multi_level=True)
    model.standardise_features([images[:2], images[2:]])
    seen: list[torch.Tensor] = []
    model.head.register_forward_pre_hook(lambda module, arguments: seen.append(arguments[0]))
    with torch.no_grad():
        model(images)
    assert seen[0].mean(dim=0).abs().max() < 1e-3
    deviations = seen[0].std(dim=0)
    assert deviations.max() < 1 + 1e-3
    assert deviations.median() > 0.9


@pytest.mark.parametrize("sample", [1, 2])
def test_a_sample_of_very_few_images_makes_no_feature_huge(images: torch.Tensor, sample: int) -> None:
    model: Nima = initial_model(BACKBONE, None, 0, multi_level=True)
    model.standardise_features([images[:1].expand(sample, -1, -1, -1)])
    assert (model.feature_std == 1).all()
    model.standardise_features([images[:sample]])
    with torch.no_grad():
        assert model.features(images).abs().max() < 1e4


def test_weights_lie_with_channels_innermost() -> None:
    convolution = next(m for m in Nima(BACKBONE).modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3))
    assert convolution.weight.is_contiguous(memory_format=torch.channels_last)
