"""Makes the updates of hostile providers that know the defence: the attacks of the literature, and some of our own.

An attacker knows everything but the hold-out: the updates of all honest providers, its own honest one, the round's
weights, the last step and, for `drift`, even which step still passes the gate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Knowledge:
    """Holds the knowledge of the attackers in a round.

    honest: updates of the honest providers, `[honest, values]`.
    own: the attacker's own honest update `[values]`.
    flipped, patched, surrogate: what it gets if it trains on reversed votes, on its photos plus copies with a patch
        that are labelled 10, or on photos of its own instead of those assigned.
    last_step: the step of the last round, zeros in the first.
    passes: tells if a step passes the gate.
    random: draws random numbers.
    """

    honest: Array
    own: Array
    flipped: Array
    patched: Array
    surrogate: Array
    last_step: Array
    passes: Callable[[Array], bool]
    random: np.random.Generator

    @property
    def mean(self) -> Array:
        return np.asarray(self.honest.mean(axis=0))

    @property
    def deviation(self) -> Array:
        return np.asarray(self.honest.std(axis=0))


Attack = Callable[[Knowledge], Array]


def _ipm(epsilon: float) -> Attack:
    """Makes an inner product manipulation (Xie et al. 2019, arXiv 1903.03936)."""
    return lambda known: -epsilon * known.mean


def _alie(z: float) -> Attack:
    """Makes "a little is enough" (Baruch et al. 2019, arXiv 1902.06156)."""
    return lambda known: known.mean - z * known.deviation


_DIRECTIONS: dict[str, Callable[[Knowledge], Array]] = {
    "unit": lambda known: -known.mean / max(float(np.linalg.norm(known.mean)), 1e-30),
    "std": lambda known: -known.deviation,
    "sign": lambda known: -np.sign(known.mean),
}


def _far(direction: str, summed: bool) -> Attack:
    """Makes min-max or min-sum (Shejwalkar and Houmansadr, NDSS 2021), which go as far as honest updates are apart."""

    def attack(known: Knowledge) -> Array:
        away = _DIRECTIONS[direction](known)
        squares = ((known.honest[:, None] - known.honest[None]) ** 2).sum(axis=2)
        limit = squares.sum(axis=1).max() if summed else squares.max()
        low, high = 0.0, 1e4 / max(float(np.linalg.norm(away)), 1e-30)
        for _ in range(60):
            middle = (low + high) / 2
            distances = ((known.mean + middle * away - known.honest) ** 2).sum(axis=1)
            low, high = (middle, high) if (distances.sum() if summed else distances.max()) <= limit else (low, middle)
        return np.asarray(known.mean + low * away)

    return attack


def _hidden_ipm(known: Knowledge) -> Array:
    """Points a little against the others (cosine −0.09), nine times as long as their mean."""
    mean, size = known.mean, float(np.linalg.norm(known.mean))
    noise = known.random.normal(size=len(mean))
    noise -= (noise @ mean) * mean / size**2
    across = size * noise / np.linalg.norm(noise)
    return np.asarray(9 * (-0.09 * mean + np.sqrt(1 - 0.09**2) * across))


def _drift(known: Knowledge) -> Array:
    """Goes against the others as far as the gate still allows."""
    low, high = 0.0, 20.0
    for _ in range(12):
        middle = (low + high) / 2
        low, high = (middle, high) if known.passes(-0.5 * middle * known.mean) else (low, middle)
    return np.asarray(-max(low, 1e-3) * known.mean)


def _free_rider(known: Knowledge) -> Array:
    """Sends the last step with a little noise, without any work."""
    size = np.linalg.norm(known.last_step) or np.linalg.norm(known.mean)
    noise = known.random.normal(size=len(known.mean))
    return np.asarray(known.last_step + 1e-3 * size / np.sqrt(len(known.mean)) * noise)


ATTACKS: dict[str, Attack] = {
    "none": lambda known: known.own,
    "flip": lambda known: -known.own,
    "scale": lambda known: 100 * known.own,
    "label-flip": lambda known: known.flipped,
    "IPM .1": _ipm(0.1),
    "IPM .5": _ipm(0.5),
    "ALIE .5": _alie(0.5),
    "ALIE 1.5": _alie(1.5),
    **{f"min-max {name}": _far(name, summed=False) for name in _DIRECTIONS},
    **{f"min-sum {name}": _far(name, summed=True) for name in _DIRECTIONS},
    "small norms": lambda known: 0.05 * known.own,
    "hidden IPM": _hidden_ipm,
    "drift": _drift,
    "backdoor": lambda known: known.patched,
    "free-rider": _free_rider,
    "own photos": lambda known: known.surrogate,
    "sybils": lambda known: known.flipped,
}
