"""Where the updates of a round point, together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FEWEST = 3  # others that an update is held against


class Directions:
    """The sum of the directions of updates, each of length 1, so that a long one counts no more than others.

    Updates are finite, not zero, and float32 `[values]`. What clients learn from different photos has enough in common
    to agree in direction until a model has converged, and what is trained against them shows as a negative cosine
    (as in FLTrust, Cao et al. 2021, arXiv 2012.13995, where the server's own update takes the others' place).
    """

    def __init__(self) -> None:
        self._sum = np.zeros(0, np.float32)
        self._count = 0

    def add(self, values: NDArray[np.float32]) -> None:
        self._sum = _direction(values) if self._count == 0 else self._sum + _direction(values)
        self._count += 1

    def agreement(self, values: NDArray[np.float32], *, added: bool = False) -> float | None:
        """Cosine, in -1..1, between an update and the others' sum; None while they are too few, or cancel out.

        added: the update is one of those that were added.
        """
        own = _direction(values)
        others = self._sum - own if added else self._sum
        length = float(np.linalg.norm(others)) if self._count - added >= FEWEST else 0.0
        return float(own @ others) / length if length > 0 else None


def _direction(values: NDArray[np.float32]) -> NDArray[np.float32]:
    # By the largest first: squares of float32 overflow and underflow.
    scaled = values / np.abs(values).max()
    return np.asarray(scaled / np.linalg.norm(scaled), np.float32)
