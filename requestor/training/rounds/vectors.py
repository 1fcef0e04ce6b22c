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
FEWEST = 3  # least number of other updates that are needed for a comparison


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


class Directions:
    """Sums the directions of updates. Each direction has the length 1, so a long update counts no more than others.

    Updates are finite, not zero, and float32 `[values]`. Until a model has converged, updates from different photos
    have enough in common to agree in direction, and an update that is trained against them has a negative cosine
    (as in FLTrust, Cao et al. 2021, arXiv 2012.13995, which compares with the server's own update).
    """

    def __init__(self) -> None:
        self._sum = np.zeros(0, np.float32)
        self._count = 0

    def add(self, values: NDArray[np.float32]) -> None:
        """Adds the direction of an update to the sum."""
        self._sum = _direction(values) if self._count == 0 else self._sum + _direction(values)
        self._count += 1

    def agreement(self, values: NDArray[np.float32], *, added: bool = False) -> float | None:
        """Returns the cosine, in -1..1, between an update and the sum of the others.

        None if there are fewer than `FEWEST` others, or if their sum is zero.

        Args:
            values: the update, float32 `[values]`.
            added: True if the update itself was added before; then it is left out of the sum.
        """
        own = _direction(values)
        others = self._sum - own if added else self._sum
        length = float(np.linalg.norm(others)) if self._count - added >= FEWEST else 0.0
        return float(own @ others) / length if length > 0 else None


def _direction(values: NDArray[np.float32]) -> NDArray[np.float32]:
    # Divide by the largest value first, because squares of float32 overflow and underflow.
    scaled = values / np.abs(values).max()
    return np.asarray(scaled / np.linalg.norm(scaled), np.float32)
