"""Treats the trained parameters, and updates of them, as flat vectors: norms, directions, steps.

Files hold tensors with names and shapes; updates are averaged and judged as vectors.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # --help lists the aggregation rules, and must not wait for the import of torch
    from torch import Tensor

Vector = NDArray[np.float64]

BLOCK = 1 << 16  # number of values that are added at a time, so that they fit into the processor's cache


def flatten(tensors: Mapping[str, Tensor]) -> NDArray[np.float32]:
    """Returns all values one after another, float32 `[values]`, in the order of the mapping."""
    import torch

    return torch.cat([tensor.detach().reshape(-1).float() for tensor in tensors.values()]).numpy()


def moved(tensors: Mapping[str, Tensor], step: NDArray[np.floating]) -> dict[str, Tensor]:
    """Returns new float32 tensors with the sum of `tensors` and `step` `[values]`, which is computed in float64."""
    import torch

    result, start = {}, 0
    for name, tensor in tensors.items():
        change = torch.from_numpy(np.asarray(step[start : start + tensor.numel()], np.float64))
        result[name] = (tensor.detach().double() + change.view(tensor.shape)).float()
        start += tensor.numel()
    return result


def norm(values: NDArray[np.float32]) -> float:
    """Computes the Euclidean norm of a vector, summed in float64."""
    parts = (values[start:stop].astype(np.float64) for start, stop in blocks(len(values), BLOCK))
    return math.sqrt(sum(float(np.square(part).sum()) for part in parts))


def blocks(size: int, length: int) -> Iterator[tuple[int, int]]:
    """Yields (start, stop) of pieces of at most `length` that make up `size`."""
    for start in range(0, size, length):
        yield start, min(start + length, size)


def unflatten(values: NDArray[np.float32], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns the values `[values]` as tensors with the names and shapes of `tensors`, in their order."""
    import torch

    flat = torch.from_numpy(np.array(values))
    parts = torch.split(flat, [tensor.numel() for tensor in tensors.values()])
    return {name: part.view(tensor.shape) for (name, tensor), part in zip(tensors.items(), parts, strict=True)}


def cosine(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Returns the cosine, in -1..1, of the angle between two finite vectors; 0 if one of them is zero."""
    if not (one.any() and other.any()):
        return 0.0
    return float(_direction(one) @ _direction(other))


def _direction(values: NDArray[np.float32]) -> NDArray[np.float32]:
    # Divide by the largest value first, because squares of float32 overflow and underflow.
    scaled = values / np.abs(values).max()
    return np.asarray(scaled / np.linalg.norm(scaled), np.float32)
