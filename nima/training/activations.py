"""Computes the outputs of the frozen blocks, a few images at a time, so that it needs little memory."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nima.model import Activations, Nima

FrozenSource = Callable[[NDArray[np.int64]], Activations]
"""Returns the outputs of the frozen blocks for the images with these numbers among all images, int64 `[B]`."""

MICRO_BATCH = 8
"""Number of images that are computed at the same time, chosen for its memory: a training of MobileNetV2's last three
blocks took 0.47 GB at most with 8, and 0.8 to 0.9 GB with 32. The CPU time was the same with one thread. With two
threads on a busy machine, 8 took 1.4 to 1.8 times as much (two runs)."""


def frozen_activations(model: Nima, pixels: Tensor) -> Activations:
    """Computes the outputs of the frozen blocks (`Nima.train_last`), at least one, without gradients.

    The activations of an image are the same, to the last bit, whatever images are computed with it: the last bits
    depend on how many images are computed together, so an incomplete group is filled up.

    Args:
        model: the model.
        pixels: RGB pixels of n ≥ 1 images, float32 `[n, 3, H, W]` in 0..1.
    """
    parts = []
    for group in torch.split(pixels, MICRO_BATCH):
        filler = group[:1].expand(MICRO_BATCH - len(group), -1, -1, -1)
        parts.append(model.frozen(torch.cat([group, filler])).take(slice(len(group))))
    return Activations.concatenate(parts)
