"""Federated aggregation: pure functions on client updates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

Delta = Mapping[str, NDArray[np.floating]]


def weighted_mean(updates: Iterable[tuple[Delta, int]]) -> dict[str, NDArray[np.float64]]:
    """FederatedAveraging on deltas: Σ nᵢ·δᵢ / Σ nᵢ (McMahan et al. 2017, algorithm 1).

    Args:
        updates: pairs of a delta (parameter name → array) and the number of samples that *we* assigned to
            it, > 0. Consumed one by one: the memory needed is one float64 model, however many updates come.

    Returns:
        Parameter name → float64 array of the same shape.

    Raises:
        ValueError: no update, a weight that is not positive, or other names or shapes than the first update's.
    """
    total: dict[str, NDArray[np.float64]] = {}
    samples = 0
    for delta, weight in updates:
        if weight <= 0:
            raise ValueError(f"the weight of an update must be positive, not {weight}")
        if not samples:
            total = {name: np.zeros(values.shape, np.float64) for name, values in delta.items()}
        if delta.keys() != total.keys():
            raise ValueError("updates of one round must have the same parameters")
        for name, values in delta.items():
            if values.shape != total[name].shape:
                raise ValueError(f"updates of {name} differ in shape: {values.shape} and {total[name].shape}")
            total[name] += weight * values.astype(np.float64)
        samples += weight
    if not samples:
        raise ValueError("there is no update to aggregate")
    return {name: values / samples for name, values in total.items()}
