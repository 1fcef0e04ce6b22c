"""Assigns each client's work in a round: the shards, and the number of training steps."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

from nima.wire import PROTOCOL, Job, TrainingPlan
from requestor.backends import Task
from requestor.training.data import Client

MOST_HALVINGS = 2  # a slow provider's number of steps is halved at most so many times


@dataclass(frozen=True)
class Frame:
    """Holds the values that all assignments of a round share.

    number: number of the round, from 1.
    base, weights: hash and path of each file.
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
    """One client's work in a round: its task, and the number of samples by which its update is weighted."""

    client: int
    task: Task
    samples: int


def assign(frame: Frame, index: int, client: Client, speed: float | None = None) -> Assignment:
    """Returns the work of one client in a round. `speed`: its provider's relative speed, for `sized`."""
    number = frame.number
    plan = replace(sized(frame.plan, speed), seed=frame.plan.seed + 1_000_003 * number + index)
    part = client.for_round(number - 1, plan.steps * plan.batch_size)
    job = Job(
        protocol=PROTOCOL, kind="train", job_id=f"round-{number:04d}-client-{index:04d}", backbone=frame.backbone,
        store="/", base=frame.base[0], shards=part.shards, threads=0, weights=frame.weights[0], plan=plan,
    )  # fmt: skip
    task = Task(job, (frame.base[1], *part.paths), frame.weights[1], frame.seconds, frame.largest)
    return Assignment(index, task, plan.steps * min(plan.batch_size, sum(part.images)))


def sized(plan: TrainingPlan, speed: float | None) -> TrainingPlan:
    """Returns the plan for a provider of this speed, relative to the typical one; None means that it is not known.

    A provider that is half as fast gets half of the steps, and one that is four times as slow or slower gets a quarter,
    so that all end at about the same time. No provider gets more steps than the plan says: the round's estimate rests
    on it. If only the head is trained, on features that are computed once, steps take almost no time: all get the same.
    """
    free = plan.trainable_blocks == 0 and not plan.augment
    if speed is None or free:
        return plan
    halvings = min(MOST_HALVINGS, max(0, round(-math.log2(speed))))
    return replace(plan, steps=max(1, plan.steps >> halvings))
