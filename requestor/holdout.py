"""How well given weights predict photos that never left this machine: what every update is judged by."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nima.distribution import normalise
from nima.model import Activations, Nima
from nima.shards import Shard
from nima.training import central_crop

PHOTOS = 256  # enough to tell a few per cent apart, as the same photos are compared; each costs time for every update
BATCH = 16


class Holdout:
    """Evaluates weights on the first photos of the hold-out, which is shuffled.

    What the frozen blocks make of the photos is computed once: with the head alone to train, an evaluation is one
    small matrix product, and at worst (all blocks trained) the cache holds 150 MB of pixels.

    Args:
        model: with the frozen parameters; is copied.
        shard: the hold-out, with votes.
        trainable_blocks: see `nima.jobs.TrainingPlan`.
    """

    def __init__(self, model: Nima, shard: Shard, trainable_blocks: int) -> None:
        if shard.votes is None:
            raise ValueError("a hold-out without votes cannot judge anything")
        self._model = copy.deepcopy(model)
        self._model.train_last(trainable_blocks)
        self._model.eval()
        self._rated = torch.from_numpy(normalise(shard.votes[:PHOTOS]))
        jpegs, size = shard.jpegs[:PHOTOS], model.entry.input_size
        with torch.inference_mode():
            self._batches: list[Activations] = [
                self._model.frozen(torch.stack([central_crop(jpeg, size) for jpeg in jpegs[start : start + BATCH]]))
                for start in range(0, len(jpegs), BATCH)
            ]

    def __call__(self, weights: Mapping[str, Tensor]) -> NDArray[np.float64]:
        """EMD (r = 1, in 0..1) of each photo `[photos]` with these trained parameters; NaN where the model breaks."""
        self._model.load_state_dict(weights, strict=False)
        with torch.inference_mode():
            predicted = torch.cat([self._model.after_frozen(batch).softmax(dim=1) for batch in self._batches])
            distances = torch.cumsum(predicted.double() - self._rated, dim=1).abs().mean(dim=1)
        return distances.numpy()
