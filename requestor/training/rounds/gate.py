"""Judges updates by their effect on the predictions for the hold-out, whose photos never leave this machine."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nima.model import Activations, Nima
from nima.ratings import normalise_votes
from nima.wire import Shard
from requestor.training.rounds.vectors import moved

WORSE = 0.02  # the hold-out EMD may grow by this, relative to the round's model …
DEVIATIONS = 2.0  # … and by so many standard errors of the growth, because the choice of photos is random,
CHANCE = 0.25  # but the second part is never more than this, relative to the round's model: with few photos it is large
PHOTOS = 256  # enough to see a few per cent, because the same photos are compared; each costs time for every update
BATCH = 16

Evaluate = Callable[[Mapping[str, Tensor]], NDArray[np.float64]]
"""A function: trained parameters by name → EMD of each photo of the hold-out, `[photos]`."""


class Gate:
    """Judges weights by their EMD on the hold-out, compared with the round's model only.

    This bound holds for any number of hostile providers; a comparison with the other updates fails if half are hostile.
    Honest updates of small data sets overfit: at full length, most of them worsen the hold-out, although their average
    improves it. So half of each update is tried: it has a quarter of the overfitting's effect, but flipped or
    mislabelled work still shows.
    """

    def __init__(self, weights: Mapping[str, Tensor], evaluate: Evaluate) -> None:
        self._weights = weights
        self._evaluate = evaluate
        self._before = evaluate(weights)
        self.before = float(self._before.mean())

    def try_step(self, step: NDArray[np.floating]) -> tuple[float, bool]:
        """Returns the mean EMD on the hold-out after `step` `[values]`, and whether that is good enough."""
        after = self._evaluate(moved(self._weights, step))
        growth = after - self._before
        chance = min(DEVIATIONS * float(growth.std()) / math.sqrt(len(growth)), CHANCE * self.before)
        # This comparison is False for NaN.
        return float(after.mean()), float(growth.mean()) <= WORSE * self.before + chance


class HoldoutEvaluator:
    """Evaluates weights on the first photos of the hold-out, which is shuffled.

    The output of the frozen blocks is computed once for all photos: if only the head is trained, an evaluation is one
    small matrix product. At worst, if all blocks are trained, the cache holds 150 MB of pixels.

    Args:
        model: holds the frozen parameters; it is copied.
        shard: the hold-out, with votes.
        trainable_blocks: see `nima.wire.jobs.TrainingPlan`.
    """

    def __init__(self, model: Nima, shard: Shard, trainable_blocks: int) -> None:
        if shard.votes is None:
            raise ValueError("a hold-out without votes cannot judge anything")
        self._model = copy.deepcopy(model)
        self._model.train_last(trainable_blocks)
        self._model.eval()
        self._rated = torch.from_numpy(normalise_votes(shard.votes[:PHOTOS]))
        jpegs, preparation = shard.jpegs[:PHOTOS], model.preparation
        with torch.inference_mode():
            self._batches: list[Activations] = [
                self._model.frozen(preparation.central_crops(jpegs[start : start + BATCH]))
                for start in range(0, len(jpegs), BATCH)
            ]

    def __call__(self, weights: Mapping[str, Tensor]) -> NDArray[np.float64]:
        """Returns the EMD (r = 1, in 0..1) of each photo, `[photos]`; NaN if these weights predict nothing finite."""
        self._model.load_state_dict(weights, strict=False)
        with torch.inference_mode():
            predicted = torch.cat([self._model.after_frozen(batch).softmax(dim=1) for batch in self._batches])
            distances = torch.cumsum(predicted.double() - self._rated, dim=1).abs().mean(dim=1)
        return distances.numpy()
