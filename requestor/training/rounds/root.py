"""Computes the update of this machine itself, from photos that never leave it: the root that updates are compared with.

The root of trust of FLTrust (Cao et al. 2021, arXiv 2012.13995): no provider can move it, whatever the others send, and
whoever answers first.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nima.model import checkpoint
from nima.training import RememberedActivations, train
from nima.wire import Shard, TrainingPlan
from requestor.training.rounds.vectors import flatten

PHOTOS = 128  # most photos that are trained on; each costs this machine as much time as a provider's photo
KEPT_BYTES = 512 * 1024 * 1024  # most bytes of the frozen blocks' outputs that are kept in memory


class HoldoutRoot:
    """Trains on the hold-out as a provider trains on its shards.

    Args:
        base: path of the base model.
        holdout: the hold-out, with votes; at most `PHOTOS` of its photos are trained on.
    """

    def __init__(self, base: Path, holdout: Shard) -> None:
        if holdout.votes is None:
            raise ValueError("a hold-out without votes cannot be trained on")
        self._base = base
        self._shard = Shard(holdout.image_ids[:PHOTOS], holdout.votes[:PHOTOS], holdout.jpegs[:PHOTOS])
        self._kept = RememberedActivations(KEPT_BYTES)

    def __call__(self, weights: Mapping[str, Tensor], plan: TrainingPlan) -> NDArray[np.float32]:
        """Returns the update, float32 `[values]`, that a training on the hold-out by the plan makes of the weights."""
        model, _ = checkpoint.load(self._base)
        trained = model.trainable_parameters(plan.trainable_blocks)
        with torch.no_grad():
            for name, values in weights.items():
                trained[name].copy_(values)
        model.train_last(plan.trainable_blocks)
        train(model, [self._shard], plan, frozen=partial(self._kept.take, model, [self._shard]))
        return flatten({name: trained[name] - values for name, values in weights.items()})
