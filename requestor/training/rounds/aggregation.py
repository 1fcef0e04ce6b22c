"""Aggregates the updates of a round into one step, by pure functions in float64.

An update is the flat float32 vector of the changes of all trained parameters. BatchNorm's statistics are frozen, so
they are not part of it. An update is in memory or on disk, and is read block by block: for any number of updates,
means need the memory of one float64 model; medians need one block of every update in addition.

A `Rule` consists of two functions: one combines the updates (here), the other makes the step of the combination
(`requestor.training.rounds.server_optimizer`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from requestor.errors import RunFolderError
from requestor.training.rounds.server_optimizer import State, adam, momentum, plain, yogi
from requestor.training.rounds.vectors import BLOCK, Vector, blocks, norm

STACK = 1 << 24  # number of values that are sorted at a time, of all updates together; they take 64 MB
TRIM = 0.25  # share of the updates that the trimmed mean leaves out at either end


class Update(Protocol):
    """One client's change of the trained parameters.

    size: number of values.
    samples: number of samples that this program assigned to the client, > 0; a provider's claim is never used.
    values: finite values, float32 `[size]`.
    """

    @property
    def size(self) -> int: ...

    @property
    def samples(self) -> int: ...

    @property
    def values(self) -> NDArray[np.float32]: ...


@dataclass(frozen=True)
class MemoryUpdate:
    """An update in memory; its attributes are those of `Update`."""

    values: NDArray[np.float32]
    samples: int

    @property
    def size(self) -> int:
        return len(self.values)


@dataclass(frozen=True)
class StoredUpdate:
    """An update in a file on this machine: only its float32 values, which are mapped only while they are read."""

    path: Path
    size: int
    samples: int

    @classmethod
    def write(cls, path: Path, values: NDArray[np.float32], samples: int) -> StoredUpdate:
        """Writes an update to a file. Raises RunFolderError if it cannot be written."""
        try:
            values.tofile(path)
        except OSError as error:
            raise RunFolderError(
                f"{path} could not be written ({error.strerror or error}): free disk space, and start again."
            ) from error
        return cls(path, len(values), samples)

    @property
    def values(self) -> NDArray[np.float32]:
        return np.memmap(self.path, np.float32, "r", shape=self.size)


def weighted_mean(updates: Sequence[Update]) -> Vector:
    """Averages deltas by FederatedAveraging: Σ nᵢ·δᵢ / Σ nᵢ (McMahan et al. 2017, arXiv 1602.05629, algorithm 1).

    Like all combinations, takes one or more updates of equal size, and returns float64 `[size]`. Raises ValueError if
    there is no update, sizes differ, or a weight is not positive.
    """
    return _scaled_mean(updates, [1.0] * len(updates))


def median(updates: Sequence[Update]) -> Vector:
    """Computes the median of each coordinate (Yin et al. 2018, arXiv 1803.01498, algorithm 1, option I).

    Updates are not weighted. Fewer than half of them, whatever they contain, cannot move a coordinate out of the range
    of the others.
    """
    return _mean_without_extremes(updates, (len(updates) - 1) // 2)


def trimmed_mean(updates: Sequence[Update]) -> Vector:
    """Computes the mean of each coordinate without its largest and smallest values (Yin et al. 2018, option II).

    Updates are not weighted. At either end, `trimmed` values are left out: so many hostile updates cannot move a
    coordinate out of the range of the others.
    """
    return _mean_without_extremes(updates, trimmed(len(updates)))


def trimmed(updates: int) -> int:
    """Returns how many of so many updates the trimmed mean leaves out at either end.

    It is a quarter of them, rounded down. If there are three updates or more, it is at least one, because a round of
    few clients needs the protection, too.
    """
    return min(max(1, math.floor(TRIM * updates)), (updates - 1) // 2)


def clipped_mean(updates: Sequence[Update]) -> Vector:
    """Computes the weighted mean of the updates after every longer one is scaled down to their median norm.

    Norm clipping: Sun et al. 2019, arXiv 1911.07963; the adaptive bound: Andrew et al. 2021, arXiv 1905.03871, with
    quantile ½. Every update is read twice. If fewer than half of the updates are hostile, none of them is longer after
    clipping than the longest honest one.
    """
    norms = [norm(update.values) for update in updates]
    limit = float(np.median(norms)) if norms else 0.0
    return _scaled_mean(updates, [min(1.0, limit / own) if own > 0 else 1.0 for own in norms])


def _scaled_mean(updates: Sequence[Update], factors: Sequence[float]) -> Vector:
    """Computes Σ nᵢ·fᵢ·δᵢ / Σ nᵢ."""
    total = np.zeros(_common_size(updates))
    buffer = np.empty(BLOCK)
    for update, factor in zip(updates, factors, strict=True):
        values = update.values
        for start, stop in blocks(len(total), BLOCK):
            weighted = np.multiply(
                values[start:stop], update.samples * factor, out=buffer[: stop - start], dtype=np.float64
            )
            total[start:stop] += weighted
    total /= sum(update.samples for update in updates)
    return total


def _mean_without_extremes(updates: Sequence[Update], trim: int) -> Vector:
    """Computes the mean of each coordinate without its `trim` largest and `trim` smallest values.

    `STACK` limits the memory that it needs beside the result.
    """
    result = np.empty(_common_size(updates))
    for start, stop in blocks(len(result), max(1, STACK // len(updates))):
        stack = np.empty((len(updates), stop - start), np.float32)
        for row, update in zip(stack, updates, strict=True):
            row[:] = update.values[start:stop]  # one update at a time, because mapped pages count as memory
        stack.sort(axis=0)
        result[start:stop] = stack[trim : len(updates) - trim].mean(axis=0, dtype=np.float64)
    return result


def _common_size(updates: Sequence[Update]) -> int:
    sizes = {update.size for update in updates}
    if not sizes:
        raise ValueError("there is no update to aggregate")
    if len(sizes) > 1:
        raise ValueError(f"updates of one round must have the same parameters, not {sorted(sizes)} of them")
    if any(update.samples <= 0 for update in updates):
        raise ValueError("the weight of an update must be positive")
    return sizes.pop()


@dataclass(frozen=True)
class Rule:
    """A rule that makes the step of the model from a round's updates.

    name: the name for `--aggregation`.
    description: a phrase for people.
    combine: computes the combination, float64 `[size]`, of one or more updates.
    server: computes the step and the next state of the server's optimiser, from the combination and the state.
    """

    name: str
    description: str
    combine: Callable[[Sequence[Update]], Vector]
    server: Callable[[Vector, State], tuple[Vector, State]] = plain


AGGREGATION_RULES: Mapping[str, Rule] = {
    rule.name: rule
    for rule in (
        Rule("mean", "weighted mean (FedAvg)", weighted_mean),
        Rule("momentum", "weighted mean with outer momentum (FedAvgM)", weighted_mean, momentum),
        Rule("median", "coordinate-wise median", median),
        Rule("trimmed-mean", "coordinate-wise mean without the extremes", trimmed_mean),
        Rule("clipped-mean", "weighted mean of norm-clipped updates", clipped_mean),
        Rule("adam", "weighted mean, then Adam on the server (FedAdam)", weighted_mean, adam),
        Rule("yogi", "weighted mean, then Yogi on the server (FedYogi)", weighted_mean, yogi),
    )
}
"""All aggregation rules, by name."""
