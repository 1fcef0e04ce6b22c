"""The trained parameters as one vector: what travels has names and shapes, what is averaged and judged has not."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def flatten(tensors: Mapping[str, Tensor]) -> NDArray[np.float32]:
    """All values one after another, float32 `[values]`, in the order of the mapping."""
    return torch.cat([tensor.detach().reshape(-1).float() for tensor in tensors.values()]).numpy()


def moved(tensors: Mapping[str, Tensor], step: NDArray[np.floating]) -> dict[str, Tensor]:
    """New float32 tensors, `tensors` plus `step` `[values]`, added in float64."""
    result, start = {}, 0
    for name, tensor in tensors.items():
        change = torch.from_numpy(np.asarray(step[start : start + tensor.numel()], np.float64))
        result[name] = (tensor.detach().double() + change.view(tensor.shape)).float()
        start += tensor.numel()
    return result
