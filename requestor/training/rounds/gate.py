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

# The EMD on the hold-out may grow by the sum of two parts. WORSE and CHANCE are relative to the EMD of the round's
# model.
WORSE = 0.02  # the first part
DEVIATIONS = 2.0  # the second part: so many standard errors of the growth, because the choice of photos is random
CHANCE = 0.25  # the most that the second part may be: with few photos, the standard error is large
# As the same photos are compared, so many are enough to see a growth of a few per cent; each costs time for every
# update.
PHOTOS = 256
BATCH = 8  # number of photos that are computed at a time; more need more memory

# Smaller hold-outs judge nothing: with so few photos, the allowance for chance is as large as what attacks do.
LEAST_HOLDOUT = 16

Evaluate = Callable[[Mapping[str, Tensor]], NDArray[np.float64]]
"""Computes the EMD of each photo of the hold-out, float64 `[photos]`, from the trained parameters by name."""


class Gate:
    """Judges weights by their EMD on the hold-out, compared with the round's model only.

    This bound holds for any number of hostile providers; a comparison with the other updates fails if half of them are
    hostile. Honest updates of small data sets overfit: at full length, most of them worsen the hold-out, although their
    average improves it. So only half of each update is tried: this reduces the effect of overfitting to a quarter, but
    still shows updates that were flipped, or trained on wrong votes.

    Args:
        weights: the round's trained parameters, name → float32 tensor.
        evaluate: computes the EMD of each photo of the hold-out.

    Attributes:
        before: mean EMD of the round's model on the hold-out.
    """

    def __init__(self, weights: Mapping[str, Tensor], evaluate: Evaluate) -> None:
        self._weights = weights
        self._evaluate = evaluate
        self._before = evaluate(weights)
        self.before = float(self._before.mean())

    def try_step(self, step: NDArray[np.floating]) -> tuple[float, bool]:
        """Returns the mean EMD on the hold-out after `step` `[values]`, and True if it has not grown too much."""
        after = self._evaluate(moved(self._weights, step))
        growth = after - self._before
        chance = min(DEVIATIONS * float(growth.std()) / math.sqrt(len(growth)), CHANCE * self.before)
        # This comparison is False for NaN.
        return float(after.mean()), float(growth.mean()) <= WORSE * self.before + chance


class HoldoutEvaluator:
    """Evaluates weights on the first `PHOTOS` photos of the hold-out, which are a random sample, as it is shuffled.

    The output of the frozen blocks is computed once for all photos: if only the head is trained, an evaluation is one
    small matrix product. At worst, if all blocks are trained, 150 MB of pixels are kept.

    Args:
        model: the model with the frozen parameters; it is copied.
        shard: the hold-out, with votes.
        trainable_blocks: number of trained blocks, as in `nima.wire.jobs.TrainingPlan`.

    Raises ValueError if the hold-out has no votes.
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
