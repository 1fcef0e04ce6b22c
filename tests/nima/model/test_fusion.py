"""Folding BatchNorm changes no score."""

from __future__ import annotations

import pytest
import torch
from spread_model import keep_scale
from torch import nn

from nima.model.fusion import fold_batch_norms
from nima.model.network import initial_model


@pytest.mark.parametrize("backbone", ["mobilenet_v1", "mobilenet_v2"])
def test_a_folded_model_computes_the_same_without_batch_norms(backbone: str) -> None:
    model = initial_model(backbone, None, seed=0).eval()
    torch.manual_seed(0)
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):  # values as after a training, not the initial ones
            for statistics in (norm.running_mean, norm.running_var, norm.weight.data, norm.bias.data):
                assert statistics is not None
                statistics.uniform_(0.5, 1.5)
    pixels = torch.rand(2, 3, 224, 224)
    keep_scale(model, pixels)
    with torch.inference_mode():
        before = model(pixels)
        folded = fold_batch_norms(model)
        after = folded(pixels)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5)
    assert (before[0] - before[1]).abs().max() > 0.05  # far more than the tolerance
