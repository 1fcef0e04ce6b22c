"""Prepares a model for inference alone: folds each BatchNorm into the convolution before it."""

from __future__ import annotations

from itertools import pairwise

from torch import nn
from torch.nn.utils import fuse_conv_bn_eval


def fold_batch_norms(model: nn.Module) -> nn.Module:
    """Folds each BatchNorm that directly follows a convolution in a `Sequential`, as in all the backbones.

    This changes `model`, which must be in evaluation mode, and returns it; its results change by rounding only.
    """
    for module in list(model.modules()):
        if not isinstance(module, nn.Sequential):
            continue
        for (name, convolution), (next_name, norm) in pairwise(list(module.named_children())):
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                module.register_module(name, fuse_conv_bn_eval(convolution, norm))
                module.register_module(next_name, nn.Identity())
    return model
