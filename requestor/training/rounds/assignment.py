"""Assigns each client's work in a round: the shards, and the number of training steps."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

from nima.wire import PROTOCOL, Job, TrainingPlan
from requestor.backends import Task
from requestor.planning import RoundWork, TaskTime
from requestor.training.data import Client

MOST_HALVINGS = 2  # largest number of times that the work is halved for a slow provider


@dataclass(frozen=True)
class Frame:
    """Holds the values that all assignments of a round share.

    number: number of the round, from 1.
    plan: the training plan for a provider of typical speed; its seed is the run's seed.
    base: SHA-256 and path of the base model.
    backbone: name of the base model's backbone.
    weights: SHA-256 and path of the round's weights.
    largest: the most bytes that an update may have.
    """

    number: int
    plan: TrainingPlan
    base: tuple[str, Path]
    backbone: str
    weights: tuple[str, Path]
    largest: int


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

    The work is so much that a slow provider ends it in time. With more photos than that, each round takes others.

    Args:
        frame: the values that all assignments of the round share.
        index: number of the client, from 0.
        client: the client with its shards.
        speed: the relative speed of the provider that will probably do the work, for `share_of_work`; None if not
            known.
    """
    number = frame.number
    plan = replace(frame.plan, seed=frame.plan.seed + 1_000_003 * number + index)
    work = RoundWork.within_limits(
        plan, frame.backbone, sum(client.images), max(client.images), share_of_work(plan, speed)
    )
    part = client.for_round(number - 1, work.photos)
    photos = sum(part.images)
    time = TaskTime.of(work.core_seconds(frame.backbone, photos), frame.largest)
    job = Job(
        protocol=PROTOCOL, kind="train", job_id=f"round-{number:04d}-client-{index:04d}", backbone=frame.backbone,
        store="/", base=frame.base[0], shards=part.shards, votes=part.votes, threads=0,
        weights=frame.weights[0], plan=work.plan,
    )  # fmt: skip
    store = (frame.base[1], *part.paths, *part.votes_paths)
    task = Task(job, store, frame.weights[1], time.limit, frame.largest, time.usual, index)
    return Assignment(index, task, work.plan.steps * min(plan.batch_size, photos))


def share_of_work(plan: TrainingPlan, speed: float | None) -> float:
    """Returns the share of the work, 0 to 1, that a provider is given, because it is slower than others.

    A provider that is half as fast gets half of the work, and one that is a quarter as fast or slower gets a quarter,
    so that all providers end at about the same time. No provider gets more than the whole, because the estimate of a
    round assumes this. If only the head is trained, on features that are computed once, steps take almost no time: then
    all get the same.

    Args:
        plan: the plan for a provider of typical speed.
        speed: the provider's speed, relative to the typical one; None if it is not known.
    """
    free = plan.trainable_blocks == 0 and not plan.augment
    if speed is None or free:
        return 1.0
    return float(2.0 ** -min(MOST_HALVINGS, max(0, round(-math.log2(speed)))))
