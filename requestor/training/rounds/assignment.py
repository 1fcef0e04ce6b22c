"""Assigns each client's work in a round: the shards, and the number of training steps."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

from nima.wire import PROTOCOL, Job, TrainingPlan
from requestor.backends import Task
from requestor.training.data import Client

MOST_HALVINGS = 2  # largest number of times that the number of steps is halved for a slow provider


@dataclass(frozen=True)
class Frame:
    """Holds the values that all assignments of a round share.

    number: number of the round, from 1.
    plan: the training plan for a provider of typical speed; its seed is the run's seed.
    base: SHA-256 and path of the base model.
    backbone: name of the base model's backbone.
    weights: SHA-256 and path of the round's weights.
    largest: the most bytes that an update may have.
    seconds: time limit of one attempt.
    """

    number: int
    plan: TrainingPlan
    base: tuple[str, Path]
    backbone: str
    weights: tuple[str, Path]
    largest: int
    seconds: float


@dataclass(frozen=True)
class Assignment:
    """One client's work in a round.

    client: number of the client, from 0.
    task: the task for a provider.
    samples: number of samples in the work, by which the update is weighted.
    """

    client: int
    task: Task
    samples: int


def assign(frame: Frame, index: int, client: Client, speed: float | None = None) -> Assignment:
    """Returns the work of one client in a round.

    Args:
        frame: the values that all assignments of the round share.
        index: number of the client, from 0.
        client: the client with its shards.
        speed: the relative speed of the provider that will probably do the work, for `sized`; None if not known.
    """
    number = frame.number
    plan = replace(sized(frame.plan, speed), seed=frame.plan.seed + 1_000_003 * number + index)
    part = client.for_round(number - 1, plan.steps * plan.batch_size)
    job = Job(
        protocol=PROTOCOL, kind="train", job_id=f"round-{number:04d}-client-{index:04d}", backbone=frame.backbone,
        store="/", base=frame.base[0], shards=part.shards, votes=part.votes, threads=0,
        weights=frame.weights[0], plan=plan,
    )  # fmt: skip
    store = (frame.base[1], *part.paths, *part.votes_paths)
    task = Task(job, store, frame.weights[1], frame.seconds, frame.largest)
    return Assignment(index, task, plan.steps * min(plan.batch_size, sum(part.images)))


def sized(plan: TrainingPlan, speed: float | None) -> TrainingPlan:
    """Returns the plan with fewer steps for a slow provider.

    A provider that is half as fast gets half of the steps, and one that is a quarter as fast or slower gets a quarter,
    so that all providers end at about the same time. No provider gets more steps than the plan has, because the
    estimate of a round assumes this number. If only the head is trained, on features that are computed once, steps
    take almost no time: then all get the same number.

    Args:
        plan: the plan for a provider of typical speed.
        speed: the provider's speed, relative to the typical one; None if it is not known.
    """
    free = plan.trainable_blocks == 0 and not plan.augment
    if speed is None or free:
        return plan
    halvings = min(MOST_HALVINGS, max(0, round(-math.log2(speed))))
    return replace(plan, steps=max(1, plan.steps >> halvings))
