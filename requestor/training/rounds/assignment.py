"""Who trains on what in a round, and how long."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

from nima.wire import PROTOCOL, Job, TrainingPlan
from requestor.backends import Task
from requestor.training.data import Client

MOST_HALVINGS = 2  # of the steps, for a slow provider


@dataclass(frozen=True)
class Frame:
    """What all assignments of a round share.

    base, weights: hash and path of each file.
    largest: bytes that an update may have; seconds: of one attempt.
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
    """One client's work in a round: a task, and the samples that we weigh its update by."""

    client: int
    task: Task
    samples: int


def assign(frame: Frame, index: int, client: Client, speed: float | None = None) -> Assignment:
    """The work of one client in a round. speed: of its provider, for `sized`."""
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
    """The plan for a provider of this speed, relative to the typical one; None where it is not known.

    A provider that is half as fast gets half of the steps, one that is four times as slow or slower a quarter, so that
    all end at about the same time. Nobody gets more than the plan says: it is what the round was reckoned with. Where
    the head alone is trained on features that are computed once, steps take no time, and fewer would save none.
    """
    free = plan.trainable_blocks == 0 and not plan.augment
    if speed is None or free:
        return plan
    halvings = min(MOST_HALVINGS, max(0, round(-math.log2(speed))))
    return replace(plan, steps=max(1, plan.steps >> halvings))
