"""Every backbone: forward, backward, save, load, resume; and a network that is taken apart computes the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from spread_model import keep_scale

from nima.model import checkpoint
from nima.model.backbones import BACKBONES, BackboneError, find_backbone
from nima.model.network import Nima, initial_model

FIXED_SIZE = {"vit_b_16"}  # its position embeddings are learnt for one size
# VGG with other features takes long at its full size; tests/nima/weights/test_other_programs.py compares it.
TRIED = [name for name in BACKBONES if name != "vgg16_maps"]


def images_for(backbone: str) -> torch.Tensor:
    """Returns two images, small if the network allows it."""
    size = find_backbone(backbone).preparation.input_size if backbone in FIXED_SIZE else 80
    return torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("backbone", TRIED)
def test_forward_backward_save_load_resume(backbone: str, tmp_path: Path) -> None:
    model = initial_model(backbone, None, seed=1)
    assert model.head.in_features == find_backbone(backbone).features
    images = images_for(backbone)
    keep_scale(model, images)
    model.train_last(1)
    model.train()
    optimizer = torch.optim.SGD(model.parameter_groups(lr_backbone=1e-4, lr_head=1e-3))

    def step(model: Nima, optimizer: torch.optim.Optimizer) -> None:
        torch.manual_seed(0)  # dropout
        optimizer.zero_grad()
        model(images).logsumexp(dim=1).sum().backward()
        optimizer.step()

    step(model, optimizer)
    assert all(p.grad is not None for p in model.trainable_parameters(1).values())
    frozen = set(dict(model.named_parameters())) - set(model.trainable_parameters(1))
    assert all(dict(model.named_parameters())[name].grad is None for name in frozen)

    path = tmp_path / "model.safetensors"
    checkpoint.save(path, model, {"steps": 1})
    resumed, metadata = checkpoint.load(path)
    assert metadata == {"preparation": "middle", "steps": 1}
    resumed.train_last(1)
    resumed.train()
    step(model, optimizer)
    step(resumed, torch.optim.SGD(resumed.parameter_groups(lr_backbone=1e-4, lr_head=1e-3)))
    for name, tensor in model.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], tensor), name
    assert not torch.equal(model.head.weight, checkpoint.load(path)[0].head.weight)


# MobileNet v1 is compared with Keras; VGG and SqueezeNet have no pooled features of their own.
@pytest.mark.parametrize("backbone", [name for name in TRIED if name not in ("mobilenet_v1", "vgg16", "squeezenet1_1")])
def test_the_parts_compute_what_the_network_did(backbone: str) -> None:
    network = find_backbone(backbone).construct().eval()
    images = images_for(backbone)
    # Without the classifier, the network returns its features; ConvNeXt's classifier begins with a norm of them.
    if backbone == "convnext_tiny":
        network.classifier[-1] = torch.nn.Identity()
    else:
        (name,) = (name for name in ("classifier", "fc", "head", "heads") if hasattr(network, name))
        setattr(network, name, torch.nn.Identity())
    keep_scale(network, images)
    with torch.no_grad():
        expected = network(images)
        parts = find_backbone(backbone).take_apart(network)
        actual = parts.pool(torch.nn.Sequential(*parts.blocks)(images))
    torch.testing.assert_close(actual, expected)
    assert (expected[0] - expected[1]).abs().max() > 0.01  # far more than the tolerance


@pytest.mark.parametrize("backbone", TRIED)
def test_multi_level_features_train_behind_the_same_head(backbone: str) -> None:
    model = initial_model(backbone, None, seed=1, multi_level=True)
    images = images_for(backbone)
    model.standardise_features([images])
    model.train_last(0)
    model.train()
    model.dropout.p = 0.0
    model.head.weight.grad = None
    logits = model(images)
    assert logits.shape == (2, 10)
    logits.square().sum().backward()
    assert model.head.weight.grad is not None
    assert model.head.in_features == sum(model.level_sizes)
    assert len(model.level_sizes) == len(model.blocks) > 1


def test_an_unknown_backbone_is_named_with_those_that_exist() -> None:
    with pytest.raises(BackboneError, match=r"no backbone 'alexnet'; choose one of .*mobilenet_v2"):
        find_backbone("alexnet")


def test_torchvision_state_without_a_tensor_is_refused(tmp_path: Path) -> None:
    state = find_backbone("mobilenet_v3_small").construct().state_dict()
    path = tmp_path / "weights.safetensors"
    save_file(state, path)
    model = Nima("mobilenet_v3_small", path)
    torch.testing.assert_close(model.blocks[0][0].weight, state["features.0.0.weight"])  # type: ignore[index]

    del state["features.5.block.0.0.weight"]
    save_file(state, path)
    with pytest.raises(BackboneError, match=r"1 tensors are missing.*'features.5.block.0.0.weight'"):
        Nima("mobilenet_v3_small", path)


def test_weights_that_are_no_safetensors_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"\x80\x04 not safetensors")
    with pytest.raises(BackboneError, match=r"could not be read as safetensors"):
        Nima("mobilenet_v3_small", path)


def test_a_network_can_be_made_whether_or_not_torchvisions_operators_load() -> None:
    program = (
        "from nima.model.backbones import find_backbone\n"
        "find_backbone('mobilenet_v2').construct()\n"
        "import torchvision, nima.model.backbones\n"
        "assert (nima.model.backbones._declared is None) == torchvision.extension._has_ops()\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd="/")
