"""Predictions of providers: a result that does not fit its task is computed again by another provider."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from drawn_photos import shard
from simulated_backend import SimulatedBackend

from nima.model import checkpoint
from nima.model.network import initial_model
from nima.training.loop import predict
from nima.wire.jobs import PROTOCOL, Job, JobResult
from nima.wire.predictions import encode_predictions
from nima.wire.shards import write_shard
from requestor.backends.base import Outcome, Provider, Task
from requestor.evaluation.prediction import PASSES, collect_predictions
from requestor.training.providers.standing import Providers

IDS = np.array([3, 5, 8])
PROBABILITIES = np.full((3, 10), 0.1, dtype=np.float32)


@pytest.fixture
def task(tmp_path: Path) -> Task:
    shard = write_shard(tmp_path, IDS, None, [b"\xff\xd8\xffa", b"\xff\xd8\xffb", b"\xff\xd8\xffc"])
    job = Job(PROTOCOL, "evaluate", "evaluate-0000", "resnet18", "/", 64 * "0", (shard.sha256,), None, 0)
    return Task(job, (tmp_path / "base", shard.path), None, 60.0, 10**6)


def collect(task: Task, tmp_path: Path, write: Callable[[Path, Task], None]) -> tuple[list, list[str], list[str]]:
    async def behave(task: Task) -> Outcome:
        output = tmp_path / task.job.job_id
        write(output, task)
        result = JobResult(PROTOCOL, task.job.job_id, "evaluate", True, None)
        return Outcome(task, Provider(task.job.job_id, "fox"), result, output)

    backend = SimulatedBackend(behave)
    collected = asyncio.run(
        collect_predictions(backend, [task], lambda photos: None, Providers(backend=backend).put_out, audit=0)
    )
    assert collected.audited == 0
    parts, problems = collected.parts, collected.problems
    assert [path.name for path in tmp_path.glob("evaluate*")] == [], "what came back is deleted"
    return parts, problems, backend.dismissed


def test_predictions_are_taken_as_they_are(task: Task, tmp_path: Path) -> None:
    parts, problems, dismissed = collect(
        task, tmp_path, lambda path, task: encode_predictions(path, IDS, PROBABILITIES)
    )
    assert [(ids.tolist(), values.tolist()) for ids, values in parts] == [(IDS.tolist(), PROBABILITIES.tolist())]
    assert (problems, dismissed) == ([], [])


def test_they_are_in_the_order_of_the_tasks_whoever_was_first(task: Task, tmp_path: Path) -> None:
    """Sums of floating-point numbers depend on the order: two equal runs must have equal metrics."""
    others = np.array([1, 2])
    shard = write_shard(tmp_path, others, None, [b"\xff\xd8\xffd", b"\xff\xd8\xffe"])
    second = replace(task, job=replace(task.job, job_id="evaluate-0001"), store=(task.store[0], shard.path))
    second_done = asyncio.Event()

    async def behave(task: Task) -> Outcome:
        if task is second:
            second_done.set()
        else:
            await second_done.wait()
        ids = others if task is second else IDS
        output = tmp_path / task.job.job_id
        encode_predictions(output, ids, PROBABILITIES[: len(ids)])
        result = JobResult(PROTOCOL, task.job.job_id, "evaluate", True, None)
        return Outcome(task, Provider(task.job.job_id, "fox"), result, output)

    collected = asyncio.run(
        collect_predictions(SimulatedBackend(behave), [task, second], lambda photos: None, Providers().put_out, audit=0)
    )
    assert [ids.tolist() for ids, _ in collected.parts] == [IDS.tolist(), others.tolist()]
    assert collected.problems == []


def test_what_does_not_fit_is_done_again_by_another(task: Task, tmp_path: Path) -> None:
    def write(path: Path, task: Task) -> None:
        if task.job.job_id == "evaluate-0000":
            path.write_bytes(b"garbage")
        else:
            encode_predictions(path, IDS, PROBABILITIES)

    parts, problems, dismissed = collect(task, tmp_path, write)
    assert len(parts) == 1
    assert (problems, dismissed) == ([], ["evaluate-0000"])


def test_where_nobody_sends_what_fits_it_ends(task: Task, tmp_path: Path) -> None:
    parts, problems, dismissed = collect(task, tmp_path, lambda path, task: path.write_bytes(b"garbage") and None)
    assert parts == []
    assert len(dismissed) == PASSES
    assert len(problems) == 1
    assert "fox" in problems[0]


def test_who_lies_once_is_not_believed_in_anything(tmp_path: Path) -> None:
    """A provider predicts one shard as the model does, and sends AVA's votes for the next: both are done again."""
    model = initial_model("mobilenet_v3_small", None, 0)
    checkpoint.save(tmp_path / "model", model, {})
    shards = [shard(3, first) for first in (0, 10)]
    infos = [write_shard(tmp_path, one.image_ids, None, one.jpegs) for one in shards]
    honest = [predict(model, one.jpegs) for one in shards]
    tasks = [
        Task(
            Job(PROTOCOL, "evaluate", f"evaluate-{n}", "mobilenet_v3_small", "/", 64 * "0", (info.sha256,), None, 0),
            (tmp_path / "model", info.path), None, 60.0, 10**6,
        )
        for n, info in enumerate(infos)
    ]  # fmt: skip

    async def behave(task: Task) -> Outcome:
        _, number, *again = task.job.job_id.split("-")
        await asyncio.sleep(0.01 * int(number))
        false = number == "1" and not again
        output = tmp_path / task.job.job_id
        values = np.eye(10, dtype=np.float32)[[5, 6, 7]] if false else honest[int(number)]
        encode_predictions(output, shards[int(number)].image_ids, values)
        result = JobResult(PROTOCOL, task.job.job_id, "evaluate", True, None)
        return Outcome(task, Provider("owl" if again else "fox", "fox"), result, output)

    backend, out = SimulatedBackend(behave), list[tuple[str, str]]()

    def put_out(provider: Provider, reason: str) -> None:
        out.append((provider.id, reason))

    collected = asyncio.run(collect_predictions(backend, tasks, lambda photos: None, put_out))
    assert [provider for provider, _ in out] == ["fox"]
    assert "is not the model's" in out[0][1]
    assert sorted(backend.rejected) == ["evaluate-0", "evaluate-1"]
    assert collected.problems == []
    assert collected.audited == 6
    for (_, values), expected in zip(collected.parts, honest, strict=True):
        np.testing.assert_array_equal(values, expected)
