"""One local training run, and prediction: tensors in, tensors out, no files.

The same model, shards and plan give the same weights on the same machine and number of threads.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from nima.errors import NimaError
from nima.model import Activations, Nima
from nima.ratings import emd, normalise_votes
from nima.training.sgd import SGD
from nima.wire import Shard, TrainingPlan

_FROZEN_BATCH = 32
_CACHE_BYTES = 512 * 1024 * 1024


class TrainingError(NimaError):
    """Shards that cannot be trained on, or a run that diverged."""


@dataclass(frozen=True)
class TrainingReport:
    """What a run did.

    samples: images seen, counted once a step.
    loss: mean EMD of the last tenth of the steps.
    """

    samples: int
    steps: int
    loss: float
    seconds: float


def train(
    model: Nima,
    shards: Sequence[Shard],
    plan: TrainingPlan,
    progress: Callable[[int, float], None] | None = None,
    frozen: Activations | None = None,
) -> TrainingReport:
    """Trains `model` in place by SGD on the EMD loss.

    Steps go through the images of all shards in a random order, again and again, each time in a new one.

    Args:
        shards: with votes.
        plan: see `TrainingPlan`; the model's trained blocks are set to the plan's.
        progress: called after every step with its number, from 1, and its loss.
        frozen: what `frozen_activations` gave for the same model, shards and plan; computed where None.

    Raises:
        TrainingError: shards without images or votes, or a loss that is no longer finite.
        PreparationError: an image that cannot be decoded, or is too small.
    """
    started = time.perf_counter()
    jpegs, targets = _examples(shards)
    cached = frozen_activations(model, shards, plan) if frozen is None else frozen
    model.train_last(plan.trainable_blocks)
    model.train()
    random = np.random.default_rng(plan.seed)

    def rate(batch: NDArray[np.int64]) -> Tensor:
        if cached is not None:
            return model.after_frozen(cached.take(batch))
        images = [jpegs[index] for index in batch]
        prepare = model.preparation
        pixels = prepare.random_crops(images, random) if plan.augment else prepare.central_crops(images)
        return model.after_frozen(model.frozen(pixels))

    return _descend(model, rate, targets, plan, random, progress, started)


def frozen_activations(model: Nima, shards: Sequence[Shard], plan: TrainingPlan) -> Activations | None:
    """What the blocks that `plan` freezes make of every image of the shards: the same in every epoch, and every round.

    None where nothing is frozen, the images are never the same twice, or the activations would take more memory than a
    provider can be asked for. Raises `PreparationError` where an image cannot be decoded.
    """
    model.train_last(plan.trainable_blocks)
    model.train()
    if plan.augment or model.frozen_blocks == 0:
        return None
    jpegs = [jpeg for shard in shards for jpeg in shard.jpegs]
    parts = []
    for start in range(0, len(jpegs), _FROZEN_BATCH):
        parts.append(model.frozen(model.preparation.central_crops(jpegs[start : start + _FROZEN_BATCH])))
        if parts[0].bytes / len(parts[0].maps) * len(jpegs) > _CACHE_BYTES:
            return None
    return Activations.concatenate(parts)


def train_head(
    model: Nima,
    features: NDArray[np.float16],
    votes: ArrayLike,
    plan: TrainingPlan,
    progress: Callable[[int, float], None] | None = None,
) -> TrainingReport:
    """Trains the head of `model` in place on features that were computed before; thousands of images a second.

    The same steps as `train` takes with no block trained, but for the rounding of the features. The head that remains
    is the mean of those after each step of the last half (Polyak & Juditsky 1992, doi:10.1137/0330046): steps of one
    length end somewhere near the best head of this problem, and on average nearer.

    Args:
        features: float16 `[n, features]`, as of `nima.wire.features.embed`.
        votes: counts `[n, 10]`.
        plan: trains no block and does not augment.
        progress: as for `train`.

    Raises:
        TrainingError: no images, or a loss that is no longer finite.
    """
    if plan.trainable_blocks != 0 or plan.augment:
        raise ValueError("from features, only the head can be trained, and not from augmented images")
    if len(features) == 0:
        raise TrainingError("Training needs at least one image.")
    targets = torch.from_numpy(normalise_votes(votes)).float()
    model.train_last(0)
    model.train()
    inputs = torch.from_numpy(features)
    random, started = np.random.default_rng(plan.seed), time.perf_counter()
    averaged = plan.steps - plan.steps // 2
    sums = [torch.zeros_like(parameter, dtype=torch.float64) for parameter in model.head.parameters()]

    def on_step(step: int, loss: float) -> None:
        if step > plan.steps - averaged:
            for total, parameter in zip(sums, model.head.parameters(), strict=True):
                total.add_(parameter.detach())
        if progress is not None:
            progress(step, loss)

    def rate(batch: NDArray[np.int64]) -> Tensor:
        return model.rate(inputs[batch].float())

    report = _descend(model, rate, targets, plan, random, on_step, started)
    with torch.no_grad():
        for total, parameter in zip(sums, model.head.parameters(), strict=True):
            parameter.copy_(total / averaged)
    return report


def standardise_features(model: Nima, jpegs: Sequence[bytes]) -> None:
    """Fits `Nima.standardise_features` to a few dozen stored images; no provider needs to see them."""
    model.standardise_features(
        model.preparation.central_crops(jpegs[start : start + _FROZEN_BATCH])
        for start in range(0, len(jpegs), _FROZEN_BATCH)
    )


def predict(model: Nima, jpegs: Sequence[bytes], batch_size: int = 32) -> NDArray[np.float32]:
    """Rating probabilities float32 `[n, 10]` of stored images, from their central crops.

    The batch size changes the result by rounding only. Raises `PreparationError` where an image cannot be decoded.
    """
    model.eval()
    predictions = [np.empty((0, 10), dtype=np.float32)]
    with torch.inference_mode():
        for start in range(0, len(jpegs), batch_size):
            logits = model(model.preparation.central_crops(jpegs[start : start + batch_size]))
            predictions.append(logits.softmax(dim=1).numpy())
    return np.concatenate(predictions)


def _examples(shards: Sequence[Shard]) -> tuple[list[bytes], Tensor]:
    jpegs = [jpeg for shard in shards for jpeg in shard.jpegs]
    votes = [shard.votes for shard in shards if shard.votes is not None]
    if not jpegs or len(votes) != len(shards):
        raise TrainingError("Training needs at least one shard, and votes in every shard.")
    return jpegs, torch.from_numpy(normalise_votes(np.concatenate(votes))).float()


def _batches(images: int, plan: TrainingPlan, random: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """Indices of the images of each step: epochs in random order, one after another, cut into batches."""
    size = min(plan.batch_size, images)
    waiting = np.empty(0, dtype=np.int64)
    for _ in range(plan.steps):
        if len(waiting) < size:
            waiting = np.concatenate([waiting, random.permutation(images)])
        yield waiting[:size]
        waiting = waiting[size:]


def _descend(
    model: Nima,
    rate: Callable[[NDArray[np.int64]], Tensor],
    targets: Tensor,
    plan: TrainingPlan,
    random: np.random.Generator,
    progress: Callable[[int, float], None] | None,
    started: float,
) -> TrainingReport:
    """The steps of a plan. rate: indices of a batch → logits `[B, 10]`; targets: probabilities `[n, 10]`."""
    losses: list[float] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(plan.seed)  # of dropout
        model.dropout.p = plan.dropout
        optimizer = SGD(model.parameter_groups(plan.lr_backbone, plan.lr_head), plan.momentum, plan.weight_decay)
        received = [parameter.detach().clone() for parameter in optimizer.parameters]
        for step, batch in enumerate(_batches(len(targets), plan, random), start=1):
            loss = emd(rate(batch).softmax(dim=1), targets[batch], plan.emd_r)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            if plan.proximal > 0:
                for parameter, start in zip(optimizer.parameters, received, strict=True):
                    assert parameter.grad is not None
                    parameter.grad.add_(parameter.detach() - start, alpha=plan.proximal)
            optimizer.step()
            losses.append(loss.item())
            if not np.isfinite(losses[-1]):
                raise TrainingError(f"The loss is not finite after step {step}; lower the learning rates.")
            if progress is not None:
                progress(step, losses[-1])
    model.eval()
    return TrainingReport(
        samples=plan.steps * min(plan.batch_size, len(targets)),
        steps=plan.steps,
        loss=float(np.mean(losses[-max(1, len(losses) // 10) :])),
        seconds=time.perf_counter() - started,
    )
