"""The gate: what weights make of photos that never left this machine, by which every update is judged."""

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

WORSE = 0.02  # by which the hold-out EMD may grow, relative to the round's model …
DEVIATIONS = 2.0  # … and beyond that, in standard errors of the growth: what the choice of photos may do by chance,
CHANCE = 0.25  # but never more than this, relative to the round's model: a few photos would excuse anything
PHOTOS = 256  # enough to tell a few per cent apart, as the same photos are compared; each costs time for every update
BATCH = 16

Evaluate = Callable[[Mapping[str, Tensor]], NDArray[np.float64]]
"""Trained parameters by name → EMD of each photo of the hold-out, `[photos]`."""


class Gate:
    """Judges weights by what they make of the hold-out, relative to the round's model and to nothing else.

    An absolute bound holds however many providers are hostile, where one relative to the other updates fails at half.
    Honest updates of small data sets overfit: at full length most of them worsen the hold-out although their average
    improves it. So a half of each is tried, in which drift counts for a quarter, and flipped or mislabelled work still
    for most.
    """

    def __init__(self, weights: Mapping[str, Tensor], evaluate: Evaluate) -> None:
        self._weights = weights
        self._evaluate = evaluate
        self._before = evaluate(weights)
        self.before = float(self._before.mean())

    def try_step(self, step: NDArray[np.floating]) -> tuple[float, bool]:
        """Mean EMD on the hold-out after `step` `[values]`, and whether that is good enough."""
        after = self._evaluate(moved(self._weights, step))
        growth = after - self._before
        chance = min(DEVIATIONS * float(growth.std()) / math.sqrt(len(growth)), CHANCE * self.before)
        # Written so that NaN fails.
        return float(after.mean()), float(growth.mean()) <= WORSE * self.before + chance


class HoldoutEvaluator:
    """Evaluates weights on the first photos of the hold-out, which is shuffled.

    What the frozen blocks make of the photos is computed once: with the head alone to train, an evaluation is one
    small matrix product, and at worst (all blocks trained) the cache holds 150 MB of pixels.

    Args:
        model: with the frozen parameters; is copied.
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
        """EMD (r = 1, in 0..1) of each photo `[photos]` with these trained parameters; NaN where the model breaks."""
        self._model.load_state_dict(weights, strict=False)
        with torch.inference_mode():
            predicted = torch.cat([self._model.after_frozen(batch).softmax(dim=1) for batch in self._batches])
            distances = torch.cumsum(predicted.double() - self._rated, dim=1).abs().mean(dim=1)
        return distances.numpy()
