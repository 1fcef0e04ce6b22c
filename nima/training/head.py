"""Trains the head alone, on features that were computed before."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from nima.model import Nima
from nima.ratings import normalise_votes
from nima.training.loop import TrainingError, TrainingReport, descend
from nima.wire import TrainingPlan


class Rows(Protocol):
    """Features of which rows are taken by their indices: an array `[n, features]`, or a file."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: NDArray[np.int64], /) -> NDArray[np.float16]: ...


def train_head(
    model: Nima,
    features: Rows,
    votes: ArrayLike,
    plan: TrainingPlan,
    progress: Callable[[int, float], None] | None = None,
) -> TrainingReport:
    """Trains the head of `model` in place on features that were computed before, at thousands of images a second.

    The steps are those of `train` with no block trained, apart from the rounding of the features. The resulting head is
    the mean of the heads after each step of the second half (Polyak and Juditsky 1992, doi:10.1137/0330046): with a
    constant learning rate the heads move around the best head, and their mean is nearer to it than the last of them.

    Args:
        model: the model whose head is trained.
        features: float16 `[n, features]`, as `nima.training.embed` computes them; only the rows of a step are taken.
        votes: counts of the ratings 1 to 10, `[n, 10]`.
        plan: the plan of the training, which must train no block and not augment.
        progress: as for `train`.

    Raises:
        TrainingError: there are no images, or the loss is no longer finite.
        ValueError: the plan trains a block or augments.
        DistributionError: the votes of an image are no distribution.
    """
    if plan.trainable_blocks != 0 or plan.augment:
        raise ValueError("from features, only the head can be trained, and not from augmented images")
    if len(features) == 0:
        raise TrainingError("Training needs at least one image.")
    targets = torch.from_numpy(normalise_votes(votes)).float()
    model.train_last(0)
    model.train()
    started = time.perf_counter()
    averaged = plan.steps - plan.steps // 2
    sums = [torch.zeros_like(parameter, dtype=torch.float64) for parameter in model.head.parameters()]

    def on_step(step: int, loss: float) -> None:
        if step > plan.steps - averaged:
            for total, parameter in zip(sums, model.head.parameters(), strict=True):
                total.add_(parameter.detach())
        if progress is not None:
            progress(step, loss)

    def rate(batch: NDArray[np.int64], random: np.random.Generator) -> Tensor:
        return model.rate(torch.from_numpy(features[batch]).float())

    report = descend(model, rate, targets, plan, on_step, started)
    with torch.no_grad():
        for total, parameter in zip(sums, model.head.parameters(), strict=True):
            parameter.copy_(total / averaged)
    return report
