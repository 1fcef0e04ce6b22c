"""The work of a round's task, and the time that tasks may take."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from nima.model.backbones import BACKBONES
from nima.wire.plan import default_plan
from requestor.planning.speeds import JOB_CORE_SECONDS, SLOW_CORES, SPEEDS, USUAL_THREADS, speed_of
from requestor.planning.work import ROUND_CORE_SECONDS, RoundWork, TaskTime

backbones = st.sampled_from([*BACKBONES, "of-nobody"])
blocks = st.sampled_from([0, 1, 3, 5, -1])


@given(backbones, blocks, st.integers(1, 300_000), st.integers(1, 600), st.sampled_from([1.0, 0.5, 0.25]))
def test_the_work_of_a_round_is_bounded(backbone: str, blocks: int, images: int, shard: int, share: float) -> None:
    wanted = default_plan(images, 0, blocks)
    work = RoundWork.within_limits(wanted, backbone, images, shard, share)
    assert 1 <= work.photos <= images
    assert 1 <= work.plan.steps <= wanted.steps
    assert work.plan.steps * work.plan.batch_size >= work.photos  # no photo is sent for nothing
    # One shard is the least that can be sent, and one batch the least that can be trained.
    speed = speed_of(backbone)
    least = (shard if blocks != -1 else 0) / speed.frozen + (shard + 32) / min(speed.last, speed.whole)
    assert work.core_seconds(backbone, work.photos) <= max(ROUND_CORE_SECONDS, least) * 1.01


def test_a_small_client_does_its_whole_plan() -> None:
    plan = default_plan(150, 0, 3)
    assert RoundWork.within_limits(plan, "mobilenet_v2", 150, 150) == RoundWork(150, plan)


def test_a_large_client_takes_a_part_of_its_photos_for_a_few_epochs() -> None:
    work = RoundWork.within_limits(default_plan(23_360, 0, 3), "mobilenet_v2", 23_360, 600)
    assert 3000 < work.photos < 6000
    assert 3.9 < work.plan.steps * work.plan.batch_size / work.photos < 4.1


@given(st.floats(0, 1e5), st.integers(0, 10**9))
def test_slow_and_usual_providers_end_in_time(core_seconds: float, result: int) -> None:
    time = TaskTime.of(core_seconds, result)
    assert (JOB_CORE_SECONDS + core_seconds) / SLOW_CORES + result / 125_000 < time.limit
    assert JOB_CORE_SECONDS + core_seconds / USUAL_THREADS < time.usual
    assert math.isfinite(time.limit)


def test_every_backbone_was_measured() -> None:
    assert set(SPEEDS) == set(BACKBONES)
