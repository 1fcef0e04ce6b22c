"""Makes untrained models whose results differ from photo to photo, for tests that need no trained one.

In a network with random weights, and BatchNorm's initial statistics, activations vanish layer by layer: features of a
MobileNet are below 1e-8, and comparing them with a tolerance of 1e-5 says nothing.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from nima.model import checkpoint
from nima.model.network import initial_model


def save_spread_model(path: Path, seed: int = 3) -> None:
    """Writes such a model to `path`."""
    untrained = initial_model("mobilenet_v1", None, seed=seed)
    torch.manual_seed(seed)
    for module in untrained.modules():
        if isinstance(module, torch.nn.Conv2d):  # with its default values, little of a photo passes all the layers
            torch.nn.init.kaiming_normal_(module.weight)
    with torch.no_grad():
        untrained.head.weight.mul_(20)
    checkpoint.save(path, untrained, {})


def keep_scale(network: nn.Module, images: Tensor) -> None:
    """Gives each BatchNorm the statistics of `images`, the network's input, so that activations keep their scale."""
    network.eval()
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    usual = [norm.momentum for norm in norms]
    for norm in norms:
        norm.training, norm.momentum = True, 1.0  # it normalises by the batch now, so one pass is enough
    with torch.no_grad():
        network(images)
    for norm, momentum in zip(norms, usual, strict=True):
        norm.training, norm.momentum = False, momentum
