"""Trains a model in one local run, and predicts with it: tensors in, tensors out, no files.

The same model, shards and plan give the same weights on the same machine and number of threads.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nima.errors import NimaError
from nima.model import Nima
from nima.ratings import emd, normalise_votes
from nima.training.activations import MICRO_BATCH, FrozenSource, frozen_activations
from nima.training.commitments import TrainingState, points
from nima.training.sgd import SGD
from nima.wire import Shard, TrainingPlan, image_places


class TrainingError(NimaError):
    """Shards cannot be trained on, or the loss of a run is no longer finite."""


@dataclass(frozen=True)
class TrainingReport:
    """The figures of a training run.

    samples: number of images that were trained on; an image counts once in each step that has it.
    steps: number of the optimiser's steps.
    loss: mean EMD of the last tenth of the steps.
    seconds: wall-clock time of the run.
    """

    samples: int
    steps: int
    loss: float
    seconds: float


@dataclass(frozen=True)
class Course:
    """Tells which segments of a training are done, and what is done with the states between them.

    first: number of the first segment that is done, from 0.
    last: number of the segment before which the training ends; None if it goes to its end.
    start: the state in which the first segment begins; None for the model as it is.
    keep: is called at the end of every segment with the number of the next one, and the state.
    """

    first: int = 0
    last: int | None = None
    start: TrainingState | None = None
    keep: Callable[[int, TrainingState], None] | None = None


def train(
    model: Nima,
    shards: Sequence[Shard],
    plan: TrainingPlan,
    progress: Callable[[int, float], None] | None = None,
    frozen: FrozenSource | None = None,
    course: Course | None = None,
) -> TrainingReport:
    """Trains `model` in place by SGD on the EMD loss.

    The steps go through the images of all shards in a random order, again and again, each time in a new order. Images
    are read and computed a few at a time, so the memory depends neither on their number nor on the batch size.

    Args:
        model: the model to train.
        shards: photos with votes.
        plan: the plan of the training; the model's trained blocks are set to the plan's.
        progress: is called after every step with its number, from 1, and its loss.
        frozen: gives the outputs of the frozen blocks, if they were kept for the same model and shards; None to compute
            them in each step. It is not asked if the plan augments, or freezes no block.
        course: the segments that are done; None for all of them.

    Raises:
        TrainingError: the shards have no images or no votes, or the loss is no longer finite.
        PreparationError: an image cannot be decoded, or is too small.
        ShardError: a shard's file has been removed or changed.
    """
    started = time.perf_counter()
    targets, places = _targets(shards), image_places(shards)
    model.train_last(plan.trainable_blocks)
    model.train()

    def rate(batch: NDArray[np.int64], random: np.random.Generator) -> Tensor:
        if frozen is not None and model.frozen_blocks > 0 and not plan.augment:
            return model.after_frozen(frozen(batch))
        images = [shards[shard].jpegs[row] for shard, row in places[batch]]
        prepare = model.preparation
        pixels = prepare.random_crops(images, random) if plan.augment else prepare.central_crops(images)
        return model(pixels) if model.frozen_blocks == 0 else model.after_frozen(frozen_activations(model, pixels))

    # A trained block keeps what it has computed until the gradient is known, and needs memory for each image.
    micro_batch = plan.batch_size if plan.trainable_blocks == 0 else MICRO_BATCH
    return descend(model, rate, targets, plan, progress, started, micro_batch, course)


def standardise_features(model: Nima, jpegs: Sequence[bytes], keep_predictions: bool = False) -> None:
    """Sets the means and deviations of `Nima.standardise_features` from a few dozen stored images.

    Raises `PreparationError` if an image cannot be decoded or is too small.
    """
    batches = (
        model.preparation.central_crops(jpegs[start : start + MICRO_BATCH])
        for start in range(0, len(jpegs), MICRO_BATCH)
    )
    model.standardise_features(batches, keep_predictions)


def predict(model: Nima, jpegs: Sequence[bytes], batch_size: int = MICRO_BATCH) -> NDArray[np.float32]:
    """Predicts the probabilities of the ratings, float32 `[n, 10]`, for n stored images, from their central crops.

    The batch size changes the result by rounding only. Raises `PreparationError` if an image cannot be decoded or is
    too small.
    """
    model.eval()
    predictions = [np.empty((0, 10), dtype=np.float32)]
    with torch.inference_mode():
        for start in range(0, len(jpegs), batch_size):
            logits = model(model.preparation.central_crops(jpegs[start : start + batch_size]))
            predictions.append(logits.softmax(dim=1).numpy())
    return np.concatenate(predictions)


def _targets(shards: Sequence[Shard]) -> Tensor:
    """Returns the shares of the ratings of all images, float32 `[n, 10]`."""
    votes = [shard.votes for shard in shards if shard.votes is not None]
    if not votes or len(votes) != len(shards):
        raise TrainingError("Training needs at least one shard, and votes in every shard.")
    return torch.from_numpy(normalise_votes(np.concatenate(votes))).float()


def _batches(images: int, plan: TrainingPlan) -> Iterator[NDArray[np.int64]]:
    """Yields the indices of the images of each step: epochs in random order, one after another, cut into batches."""
    random = np.random.default_rng(plan.seed)
    size = min(plan.batch_size, images)
    waiting = np.empty(0, dtype=np.int64)
    for _ in range(plan.steps):
        if len(waiting) < size:
            waiting = np.concatenate([waiting, random.permutation(images)])
        yield waiting[:size]
        waiting = waiting[size:]


def descend(
    model: Nima,
    rate: Callable[[NDArray[np.int64], np.random.Generator], Tensor],
    targets: Tensor,
    plan: TrainingPlan,
    progress: Callable[[int, float], None] | None,
    started: float,
    micro_batch: int | None = None,
    course: Course | None = None,
) -> TrainingReport:
    """Does the steps of a plan, and reports its figures. Raises `TrainingError` if the loss is no longer finite.

    Args:
        model: the model to train.
        rate: computes the logits `[B, 10]` of a batch from the indices of its images, int64 `[B]`, and a source of
            random numbers.
        targets: probabilities `[n, 10]`.
        plan: the plan of the training.
        progress: is called after every step with its number, from 1, and its loss.
        started: the time of `time.perf_counter` from which the report's seconds count.
        micro_batch: most images of a batch that are computed at the same time, None for all. The gradient of a batch is
            the sum of those of its parts, because BatchNorm is frozen.
        course: the segments that are done; None for all of them.
    """
    course = course or Course()
    losses: list[float] = []
    marks = points(plan.steps)
    last = len(marks) - 1 if course.last is None else course.last
    with torch.random.fork_rng(devices=[]):
        model.dropout.p = plan.dropout
        optimizer = SGD(model.parameter_groups(plan.lr_backbone, plan.lr_head), plan.momentum, plan.weight_decay)
        # FedProx's term is relative to the weights that were received, also if the training goes on from a later state.
        received = [parameter.detach().clone() for parameter in optimizer.parameters]
        if course.start is not None:
            _set_state(model, optimizer, course.start)
        batches = islice(_batches(len(targets), plan), marks[course.first], marks[last])
        for segment in range(course.first, last):
            random = _begin(plan, segment)
            for batch in islice(batches, marks[segment + 1] - marks[segment]):
                losses.append(_gradient(optimizer, rate, random, targets, batch, plan, micro_batch))
                if plan.proximal > 0:
                    for parameter, start in zip(optimizer.parameters, received, strict=True):
                        assert parameter.grad is not None
                        parameter.grad.add_(parameter.detach() - start, alpha=plan.proximal)
                optimizer.step()
                step = marks[course.first] + len(losses)
                if not np.isfinite(losses[-1]):
                    raise TrainingError(f"The loss is not finite after step {step}; lower the learning rates.")
                if progress is not None:
                    progress(step, losses[-1])
            if course.keep is not None:
                course.keep(segment + 1, _state_of(model, optimizer))
    model.eval()
    return TrainingReport(
        samples=len(losses) * min(plan.batch_size, len(targets)),
        steps=len(losses),
        loss=float(np.mean(losses[-max(1, len(losses) // 10) :])),
        seconds=time.perf_counter() - started,
    )


def _gradient(
    optimizer: SGD,
    rate: Callable[[NDArray[np.int64], np.random.Generator], Tensor],
    random: np.random.Generator,
    targets: Tensor,
    batch: NDArray[np.int64],
    plan: TrainingPlan,
    micro_batch: int | None,
) -> float:
    """Computes the gradient of the mean loss of a batch, and returns the loss."""
    optimizer.zero_grad()
    total, size = 0.0, micro_batch or len(batch)
    for part in np.split(batch, range(size, len(batch), size)):
        loss = emd(rate(part, random).softmax(dim=1), targets[part], plan.emd_r) * (len(part) / len(batch))
        loss.backward()  # type: ignore[no-untyped-call]
        total += loss.item()
    return total


def _begin(plan: TrainingPlan, segment: int) -> np.random.Generator:
    """Seeds dropout for a segment, and returns the source of random numbers for its crops."""
    random = np.random.default_rng([plan.seed, segment])
    torch.manual_seed(int(random.integers(2**63)))
    return random


def _named(model: Nima, optimizer: SGD) -> list[str]:
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return [names[id(parameter)] for parameter in optimizer.parameters]


def _state_of(model: Nima, optimizer: SGD) -> TrainingState:
    names = _named(model, optimizer)
    parameters = [parameter.detach().clone() for parameter in optimizer.parameters]
    return TrainingState(dict(zip(names, parameters, strict=True)), dict(zip(names, optimizer.velocities, strict=True)))


def _set_state(model: Nima, optimizer: SGD, state: TrainingState) -> None:
    names = _named(model, optimizer)
    with torch.no_grad():
        for name, parameter in zip(names, optimizer.parameters, strict=True):
            parameter.copy_(state.parameters[name])
    optimizer.resume([state.velocities[name] for name in names])
