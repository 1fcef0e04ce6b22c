"""Makes an untrained model whose scores differ from photo to photo, for tests that need no trained one."""

from __future__ import annotations

from pathlib import Path

import torch

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
