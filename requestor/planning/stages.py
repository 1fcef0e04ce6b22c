"""Plans the tasks of a whole run by its size, before anything exists of it, and the time that providers take."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass

from nima.wire import default_plan
from requestor.planning.attempt_time import START_SECONDS
from requestor.planning.speeds import JOB_CORE_SECONDS
from requestor.planning.uplink import LEAST_UPLINK, UPLOAD_SECONDS, UPLOADS_AT_ONCE, upload_seconds
from requestor.planning.work import RoundWork, TaskTime, forward_core_seconds, shards_within

SHARD_IMAGES = 600  # most photos in a shard


@dataclass(frozen=True)
class RunSize:
    """Holds the numbers from which the tasks of a run follow.

    train_images, test_images: number of photos that are sent to providers for training, and for the test.
    workers: number of providers, and of clients, among whom the photos to train on are divided evenly.
    backbone: name of the backbone.
    blocks: number of the last blocks that rounds train, as in `nima.wire.TrainingPlan`.
    photo: bytes of a photo in a shard.
    base: bytes of the base model, and of the trained model.
    weights: bytes of a round's weights.
    update: bytes of an update.
    features: bytes of the features of a photo.
    """

    train_images: int
    test_images: int
    workers: int
    backbone: str
    blocks: int
    photo: int
    base: int
    weights: int
    update: int
    features: int


@dataclass(frozen=True)
class PlannedTask:
    """A task that will be issued.

    photos: number of photos; each counts once.
    samples: number of samples that are trained on; 0 if nothing is trained.
    core_seconds: seconds that one core needs, without the start of the program.
    sent: bytes that its provider is sent for it.
    result: bytes of its result.
    """

    photos: int
    samples: int
    core_seconds: float
    sent: int
    result: int

    @property
    def time(self) -> TaskTime:
        """Returns the time that the program may take."""
        return TaskTime.of(self.core_seconds, self.result)


def embedding_tasks(run: RunSize) -> list[PlannedTask]:
    """Plans the tasks that compute the features of all photos to train on: one for each shard."""
    return _forward_tasks(run, _shards_of_clients(run), run.features)


def evaluation_tasks(run: RunSize) -> list[PlannedTask]:
    """Plans the tasks that predict the test photos."""
    largest = min(SHARD_IMAGES, -(-run.test_images // run.workers))
    return _forward_tasks(run, evenly(run.test_images, -(-run.test_images // largest)), 0)


def round_tasks(run: RunSize, number: int, embedded: bool) -> list[PlannedTask]:
    """Plans the tasks of a federated round: one for each client.

    Args:
        run: the size of the run.
        number: number of the round, from 0.
        embedded: True if the run begins with features of all photos, so that every provider has its client's shards.
    """
    images = evenly(run.train_images, run.workers)
    of = {count: _round_task(run, number, embedded, count) for count in set(images)}
    return [of[count] for count in images]


def _round_task(run: RunSize, number: int, embedded: bool, images: int) -> PlannedTask:
    """Plans the task of a client with so many photos; the other arguments are those of `round_tasks`."""
    shards = evenly(images, -(-images // SHARD_IMAGES))
    work = RoundWork.within_limits(default_plan(images, 0, run.blocks), run.backbone, images, shards[0])
    photos = sum(shards[: shards_within(shards, work.photos)])
    new = 0 if embedded else min(photos, max(0, images - number * photos))
    sent = run.weights + new * run.photo + (run.base if number == 0 and not embedded else 0)
    samples = work.plan.steps * min(work.plan.batch_size, photos)
    return PlannedTask(photos, samples, work.core_seconds(run.backbone, photos), sent, run.update)


def evenly(total: int, parts: int) -> list[int]:
    """Divides a number into parts that differ by one at most, the larger ones first, as `numpy.array_split` does."""
    return [total // parts + (index < total % parts) for index in range(parts)]


def stage_seconds(tasks: Sequence[PlannedTask], workers: int, threads: float, uplink: float, downlink: float) -> float:
    """Returns the time that providers take for some tasks, which each takes up as soon as it is free, in seconds.

    A provider begins as soon as it has its files, and is sent the next ones when it has ended.

    Args:
        tasks: the tasks, in their order.
        workers: number of providers.
        threads: number of cores of each.
        uplink, downlink: bytes a second from this machine to all providers together, and back.
    """
    free = [0.0] * workers  # times at which the providers have nothing more to do
    sent = 0.0  # time at which the uplink has nothing more to do
    for task in tasks:
        ready = heapq.heappop(free)
        if task.sent:
            ready = sent = max(ready, sent) + task.sent / uplink
        heapq.heappush(free, ready + JOB_CORE_SECONDS + task.core_seconds / threads + task.result / downlink)
    return max(free)


def waiting_seconds(limits: Sequence[float], size: int, workers: int) -> tuple[float, float]:
    """Returns how long a round waits for tasks, in which slow providers behind a slow uplink end, too, in seconds.

    Args:
        limits: time limit of each task's program, in seconds; at least one.
        size: bytes that are sent for all tasks together.
        workers: number of providers that work at the same time.

    Returns:
        The time for all tasks, and how much longer one of them takes if another provider has to do it again.
    """
    one_after_another = math.ceil(len(limits) / workers)
    sending = size / LEAST_UPLINK + UPLOAD_SECONDS * math.ceil(len(limits) / UPLOADS_AT_ONCE)
    again = START_SECONDS + upload_seconds(math.ceil(size / len(limits))) + max(limits)
    return START_SECONDS + sending + one_after_another * max(limits), again


def _forward_tasks(run: RunSize, shards: Sequence[int], result: int) -> list[PlannedTask]:
    """Plans a task for each shard; the model is sent along with the first one of each provider."""
    return [
        PlannedTask(
            photos, 0, forward_core_seconds(run.backbone, photos),
            photos * run.photo + (run.base if index < run.workers else 0), photos * result,
        )
        for index, photos in enumerate(shards)
    ]  # fmt: skip


def _shards_of_clients(run: RunSize) -> list[int]:
    """Returns the number of photos of each shard, the first shards of all clients first, as providers take them."""
    clients = [evenly(images, -(-images // SHARD_IMAGES)) for images in evenly(run.train_images, run.workers)]
    longest = max(map(len, clients))
    return [client[place] for place in range(longest) for client in clients if place < len(client)]
