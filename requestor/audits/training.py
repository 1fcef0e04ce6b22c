"""Checks trainings: computes a random segment of each again, from a state to which its provider had committed.

A provider names the hashes of the states between its ten segments together with its update, and is asked for two of
them afterwards. The training from one to the other is repeated here; the first state of all is known, and the last one
is the received weights plus the update. What is false throughout is false in every segment. (Proof-of-Learning, Jia et
al. 2021, arXiv 2103.05633; unlike there, photos, votes, seeds and order are ours, so nothing can be chosen to fit.)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from nima.errors import NimaError
from nima.model import Nima, checkpoint
from nima.safe_io import sha256_of
from nima.training import (
    Course,
    FrozenSource,
    RememberedActivations,
    TrainingState,
    max_state_bytes,
    points,
    read_state,
    train,
)
from nima.wire import JobResult, Shard, TrainingPlan, decode_weights, read_shard, read_votes, round_update, schema_of
from requestor.audits.sampling import chosen_segments
from requestor.backends import Evidence, Outcome, Task

TOLERANCE = 0.02
"""Largest distance between a claimed and a repeated state that is accepted, relative to the way of the segment."""
ROUNDING = 0.01
"""Largest distance relative to the update that is accepted beside it in the last segment, because an update is rounded
to steps: if a value lies within the processors' difference of a step's border, it is rounded up here and down there."""
KEPT_BYTES = 512 * 1024 * 1024  # most bytes of the frozen blocks' outputs that are kept in memory


class TrainingAudit:
    """Computes segments of providers' trainings again, on this machine.

    Args:
        base: path of the base model.
        share: share of the work that is computed again on average, 0 to 1.
    """

    def __init__(self, base: Path, share: float) -> None:
        self._base = base
        self._share = share
        self._segments: dict[str, list[int]] = {}  # id of a job → its segments that are computed again
        self._kept = RememberedActivations(KEPT_BYTES)

    def with_evidence(self, task: Task) -> Task:
        """Returns a training task whose outcome comes with the states that this audit needs."""
        choose = partial(self._choose, task.job.job_id)  # the id in the result is a claim
        return replace(task, evidence=Evidence(choose, self._largest_state(task)))

    def check(self, outcome: Outcome, update: Mapping[str, Tensor]) -> str | None:
        """Repeats the segments of a training that were chosen when its result came.

        Args:
            outcome: the outcome of a task that `with_evidence` returned, with result and states.
            update: the update as it was decoded, name → float32 tensor.

        Returns:
            The reason why the training is false; None if no error was found.
        """
        assert outcome.result is not None
        task = outcome.task
        plan, committed = _plan_of(task), outcome.result.states
        if len(committed) != len(points(plan.steps)) - 2:
            return f"it names {len(committed)} states of its training instead of {len(points(plan.steps)) - 2}"
        for number, path in outcome.states.items():
            if sha256_of(path) != committed[number - 1]:
                return f"the state after segment {number} of its training is not the one that it had named"
        for segment in self._segments.pop(task.job.job_id, ()):
            if reason := self._repeat(outcome, update, segment):
                return reason
        return None

    def repeat_all(self, task: Task, update: Mapping[str, Tensor]) -> str | None:
        """Does a whole training again, and returns the reason why the update is not its result; None if it is."""
        model, received = self._received(task)
        plan = _plan_of(task)
        shards = _shards_of(task)
        train(model, shards, plan, frozen=self._frozen(model, task, shards))
        trained = _values(model.trainable_parameters(plan.trainable_blocks))
        off = _distance(update, round_update(received, trained, plan.seed)) / max(_distance(trained, received), 1e-30)
        return None if off <= TOLERANCE + ROUNDING else f"its update is not that of its training ({off:.0%} off)"

    def _choose(self, job_id: str, result: JobResult) -> tuple[int, ...]:
        """Chooses segments now that the provider has named its states; returns the numbers of the states they need."""
        inner = len(result.states)
        segments = chosen_segments(inner + 1, self._share)
        self._segments[job_id] = segments
        return tuple(sorted({state for one in segments for state in (one, one + 1) if 1 <= state <= inner}))

    def _repeat(self, outcome: Outcome, update: Mapping[str, Tensor], segment: int) -> str | None:
        task = outcome.task
        plan, last = _plan_of(task), len(points(_plan_of(task).steps)) - 2
        model, received = self._received(task)
        try:
            start = self._state(outcome, segment, received)
            claimed = None if segment == last else self._state(outcome, segment + 1, received)
        except NimaError as error:
            return str(error)
        shards = _shards_of(task)
        frozen, reached_states = self._frozen(model, task, shards), list[TrainingState]()
        course = Course(segment, segment + 1, start, lambda number, state: reached_states.append(state))
        try:
            train(model, shards, plan, frozen=frozen, course=course)
        except NimaError as error:  # only the state is the provider's, so it is the cause
            return f"segment {segment + 1} of its training cannot be computed again: {error}"
        (repeated,) = reached_states
        if claimed is None:
            off = _distance(update, round_update(received, repeated.parameters, plan.seed))
            allowed = ROUNDING * _norm(update)
        else:
            off, allowed = _distance(claimed.parameters, repeated.parameters), 0.0
            speed = _norm(repeated.velocities)
            if not _distance(claimed.velocities, repeated.velocities) <= TOLERANCE * speed:
                return f"the velocities after segment {segment + 1} of its training are not those of the training"
        way = _distance(repeated.parameters, start.parameters)
        if off <= TOLERANCE * way + allowed:
            return None
        return (
            f"segment {segment + 1} of its training was computed again, and ends elsewhere: "
            f"{off / max(way, 1e-30):.2g} of the segment's way off"
        )

    def _frozen(self, model: Nima, task: Task, shards: Sequence[Shard]) -> FrozenSource:
        """Returns a source of the frozen blocks' outputs, which are the same in all rounds."""
        model.train_last(_plan_of(task).trainable_blocks)
        return partial(self._kept.take, model, shards)

    def _received(self, task: Task) -> tuple[Nima, dict[str, Tensor]]:
        """Returns the model as the provider received it, and a copy of its trained parameters."""
        model, _ = checkpoint.load(self._base)
        parameters = dict(model.named_parameters())
        if task.weights is not None:
            weights = decode_weights(task.weights, schema_of(parameters), partial=True)
            with torch.no_grad():
                for name, values in weights.items():
                    parameters[name].copy_(values)
        return model, _values(model.trainable_parameters(_plan_of(task).trainable_blocks))

    def _state(self, outcome: Outcome, number: int, received: Mapping[str, Tensor]) -> TrainingState:
        if number == 0:
            return TrainingState.beginning(received)
        return read_state(outcome.states[number], received)

    def _largest_state(self, task: Task) -> int:
        model, _ = checkpoint.load(self._base)
        return max_state_bytes(model.trainable_parameters(_plan_of(task).trainable_blocks))


def _shards_of(task: Task) -> list[Shard]:
    """Reads the shards of a training task, with the votes that lie in files behind theirs in its store."""
    stop = 1 + len(task.job.shards)
    shards = [read_shard(path) for path in task.store[1:stop]]
    if not task.job.votes:
        return shards
    return [
        replace(shard, votes=read_votes(path, shard.image_ids))
        for shard, path in zip(shards, task.store[stop:], strict=True)
    ]


def _plan_of(task: Task) -> TrainingPlan:
    assert task.job.plan is not None, "a training has a plan"
    return task.job.plan


def _values(parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: values.detach().clone() for name, values in parameters.items()}


def _norm(tensors: Mapping[str, Tensor]) -> float:
    return math.sqrt(sum(float(values.double().square().sum()) for values in tensors.values()))


def _distance(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> float:
    return _norm({name: one[name].double() - other[name].double() for name in other})
