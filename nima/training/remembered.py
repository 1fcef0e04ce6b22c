"""Remembers the outputs of the frozen blocks in memory, in half precision, as providers keep them on disk."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from nima.model import Activations, Nima
from nima.training.activations import frozen_activations
from nima.wire import Shard, image_places

_LARGEST = float(torch.finfo(torch.float16).max)


class RememberedActivations:
    """Remembers the activations of photos, which are computed when they are first asked for.

    They have the same digits as those that a provider keeps, so that a training can be repeated.

    Args:
        most_bytes: most bytes that are remembered; further activations are computed anew each time.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        self._kept: dict[int, Activations] = {}  # id of the image in AVA → its activations

    def take(self, model: Nima, shards: Sequence[Shard], batch: NDArray[np.int64]) -> Activations:
        """Returns the activations of the photos with the numbers int64 `[B]` among those of all shards.

        The model's frozen blocks must be the same in every call. Raises `PreparationError` if a photo cannot be
        decoded.
        """
        places = image_places(shards)[batch].tolist()
        ids = [int(shards[shard].image_ids[row]) for shard, row in places]
        missing = {one: place for one, place in zip(ids, places, strict=True) if one not in self._kept}
        found = {one: self._kept[one] for one in ids if one in self._kept}
        if missing:
            jpegs = [shards[shard].jpegs[row] for shard, row in missing.values()]
            computed = frozen_activations(model, model.preparation.central_crops(jpegs))
            for index, one in enumerate(missing):
                found[one] = _as_kept(computed.take(slice(index, index + 1)))
                size = sum(tensor.nbytes for tensor in (found[one].maps, *found[one].levels))
                if self._bytes + size <= self._most_bytes:
                    self._kept[one] = found[one]
                    self._bytes += size
        return _as_computed(Activations.concatenate([found[one] for one in ids]))


def _as_kept(activations: Activations) -> Activations:
    """Returns activations as a provider keeps them: maps in half precision, pooled outputs as they are."""
    if activations.maps.dim() <= 2:
        return activations
    return Activations(activations.maps.clamp(-_LARGEST, _LARGEST).half(), activations.levels)


def _as_computed(activations: Activations) -> Activations:
    maps = activations.maps.float()
    if maps.dim() == 4:  # the layout in which it was computed: another layout would change the order of sums
        maps = maps.contiguous(memory_format=torch.channels_last)
    return Activations(maps, activations.levels)
