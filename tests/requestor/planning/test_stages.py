"""The plan of a whole run: its tasks are those that are issued, and all end within their limits."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nima.model.backbones import BACKBONES
from nima.wire.plan import default_plan
from requestor.planning.speeds import JOB_CORE_SECONDS, SLOW_CORES
from requestor.planning.stages import (
    PlannedTask,
    RunSize,
    embedding_tasks,
    evaluation_tasks,
    evenly,
    round_tasks,
    stage_seconds,
    waiting_seconds,
)
from requestor.planning.uplink import LEAST_UPLINK, UPLOADS_AT_ONCE, upload_seconds
from requestor.training.data.dataset import Client
from requestor.training.rounds.assignment import Frame, assign

LEAST_RETURN = 125_000  # bytes a second
AVA = RunSize(
    233_602, 19_928, 10, "mobilenet_v2", 3, photo=13_000, base=9_300_000, weights=2_500_000, update=1_300_000,
    features=5_600,
)  # fmt: skip
runs = st.builds(
    RunSize,
    train_images=st.integers(20, 300_000), test_images=st.integers(1, 30_000), workers=st.integers(1, 100),
    backbone=st.sampled_from(list(BACKBONES)), blocks=st.sampled_from([0, 1, 3, 5, -1]),
    photo=st.integers(5_000, 30_000), base=st.integers(10**6, 10**8), weights=st.integers(10**4, 10**8),
    update=st.integers(10**4, 10**8),
    features=st.integers(10**3, 10**4),
).filter(lambda run: run.train_images >= run.workers)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(runs, st.booleans(), st.integers(0, 50))
def test_no_planned_task_breaks_a_limit(run: RunSize, embedded: bool, number: int) -> None:
    """Everything that the estimate promises ends in time at the slowest provider behind the slowest uplink."""
    for tasks in (embedding_tasks(run), round_tasks(run, number, embedded), evaluation_tasks(run)):
        for task in tasks:
            slow = (JOB_CORE_SECONDS + task.core_seconds) / SLOW_CORES + task.result / LEAST_RETURN
            assert slow < task.time.limit
            assert task.sent * UPLOADS_AT_ONCE / LEAST_UPLINK <= upload_seconds(task.sent)
        longest, _ = waiting_seconds([task.time.limit for task in tasks], sum(t.sent for t in tasks), run.workers)
        # At the least speeds, each worker's results come one after another over a line of its own.
        taken = stage_seconds([replace(task, result=0) for task in tasks], run.workers, SLOW_CORES, LEAST_UPLINK, 1.0)
        assert taken < longest


@settings(max_examples=60, deadline=None)
@given(runs, st.booleans(), st.integers(0, 50))
def test_every_photo_is_counted_once(run: RunSize, embedded: bool, number: int) -> None:
    assert sum(task.photos for task in embedding_tasks(run)) == run.train_images
    assert sum(task.photos for task in evaluation_tasks(run)) == run.test_images
    tasks = round_tasks(run, number, embedded)
    assert len(tasks) == run.workers
    assert all(task.samples >= min(task.photos, 32) for task in tasks)  # at least one batch
    assert all(task.samples >= task.photos for task in tasks if run.blocks != -1)  # no photo is taken in vain


@settings(max_examples=40, deadline=None)
@given(runs, st.integers(1, 5))
def test_the_tasks_of_a_round_are_the_planned_ones(run: RunSize, number: int) -> None:
    frame = Frame(
        number, default_plan(run.train_images // run.workers, 0, run.blocks), ("0" * 64, Path("base")), run.backbone,
        ("0" * 64, Path("weights")), run.update,
    )  # fmt: skip
    images = evenly(run.train_images, run.workers)[-1]
    shards = evenly(images, -(-images // 600))
    names = tuple(f"{index:064x}" for index in range(len(shards)))
    client = Client(names, tuple(map(Path, names)), tuple(shards))
    issued = assign(frame, 0, client)
    planned = round_tasks(run, number - 1, embedded=True)[-1]
    assert issued.samples == pytest.approx(planned.samples, rel=0.01, abs=32)
    assert issued.task.seconds == pytest.approx(planned.time.limit, rel=0.02)


def test_rounds_of_ava_take_other_photos_each_time_and_end_soon() -> None:
    planned = round_tasks(AVA, 0, embedded=True)[0]
    assert planned.core_seconds / 4 < 80  # a usual provider
    assert planned.time.limit < 1000
    assert 3_000 < planned.photos < 6_000


def test_a_stage_by_hand() -> None:
    task = PlannedTask(photos=1, samples=0, core_seconds=8.0, sent=100, result=30)
    # Each takes 4 + 8/2 s to compute, and 3 s to send back; the uplink takes 10 s for each.
    assert stage_seconds([task], 1, 2, uplink=10, downlink=10) == 10 + 8 + 3
    assert stage_seconds([task] * 2, 2, 2, uplink=10, downlink=10) == 20 + 8 + 3  # the first works while it is sent
    assert stage_seconds([task] * 2, 1, 2, uplink=10, downlink=10) == 2 * (10 + 8 + 3)
    held = replace(task, sent=0)
    assert stage_seconds([held] * 3, 2, 2, uplink=10, downlink=10) == 2 * (8 + 3)


def test_shards_are_sent_once_if_there_was_no_embedding() -> None:
    rounds = (round_tasks(AVA, number, embedded=False) for number in range(100))
    sent = sum(task.sent - AVA.weights for tasks in islice(rounds, 100) for task in tasks)
    assert sent == AVA.train_images * AVA.photo + AVA.workers * AVA.base
