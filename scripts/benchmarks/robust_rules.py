"""Aggregates updates by the robust rules of the literature, for comparison: pure functions of float64 arrays.

Each takes the updates `[clients, values]`, the number of hostile ones that the rule is told of, and a function
that makes the server's own update `[values]`, which takes time; it returns a step `[values]`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Root = Callable[[], Array]
Rule = Callable[[Array, int, Root], Array]


def fedavg(updates: Array, hostile: int, root: Root) -> Array:
    """Computes the plain mean (McMahan et al. 2017, arXiv 1602.05629)."""
    return np.asarray(updates.mean(axis=0))


def median(updates: Array, hostile: int, root: Root) -> Array:
    """Computes the median of each value (Yin et al. 2018, arXiv 1803.01498)."""
    return np.asarray(np.median(updates, axis=0))


def trimmed_mean(updates: Array, hostile: int, root: Root) -> Array:
    """Computes the mean of each value without the `hostile` largest and smallest (Yin et al. 2018)."""
    trim = min(hostile, (len(updates) - 1) // 2)
    return np.asarray(np.sort(updates, axis=0)[trim : len(updates) - trim].mean(axis=0))


def krum(updates: Array, hostile: int, root: Root) -> Array:
    """Takes the update with the least sum of squared distances to its n − f − 2 nearest (Blanchard et al. 2017)."""
    return np.asarray(updates[int(np.argmin(_krum_scores(updates, hostile)))])


def bulyan(updates: Array, hostile: int, root: Root) -> Array:
    """Selects n − 2f updates by Krum, then averages the nearest to the median of each value (El Mhamdi et al. 2018)."""
    left, chosen = list(range(len(updates))), list[int]()
    while len(chosen) < max(1, len(updates) - 2 * hostile):
        best = left[int(np.argmin(_krum_scores(updates[left], hostile)))]
        chosen.append(best)
        left.remove(best)
    selected = updates[chosen]
    keep = max(1, len(selected) - 2 * hostile)
    nearest = np.argsort(abs(selected - np.median(selected, axis=0)), axis=0)[:keep]
    return np.asarray(np.take_along_axis(selected, nearest, axis=0).mean(axis=0))


def fltrust(updates: Array, hostile: int, root: Root) -> Array:
    """Weights the updates by their cosine with the root where it is positive, at its norm (Cao et al. 2021)."""
    own = root()
    norms = np.maximum(np.linalg.norm(updates, axis=1), 1e-30)
    trust = np.maximum(updates @ own / (norms * np.linalg.norm(own)), 0)
    if trust.sum() == 0:
        return np.zeros_like(own)
    return np.asarray((trust / norms) @ updates * np.linalg.norm(own) / trust.sum())


def _krum_scores(updates: Array, hostile: int) -> Array:
    squares = ((updates[:, None, :] - updates[None, :, :]) ** 2).sum(axis=2)
    nearest = np.sort(squares, axis=1)[:, 1 : max(2, len(updates) - hostile - 1)]
    return np.asarray(nearest.sum(axis=1))


RULES: dict[str, Rule] = {
    "FedAvg": fedavg, "Krum": krum, "Bulyan": bulyan, "median": median, "trimmed": trimmed_mean, "FLTrust": fltrust,
}  # fmt: skip
