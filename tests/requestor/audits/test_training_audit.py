"""A training is computed again in part: an honest one passes on any processor, and every kind of lie is found."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from drawn_photos import shard
from torch import Tensor

from nima.model import checkpoint
from nima.model.network import initial_model
from nima.safe_io.files import sha256_of
from nima.training.commitments import POINTS, max_state_bytes, read_state, write_state
from nima.training.loop import standardise_features
from nima.wire.jobs import PROTOCOL, WEIGHTS_FILE, Job, JobResult, state_file
from nima.wire.plan import TrainingPlan
from nima.wire.shards import read_shard, write_shard
from nima.wire.updates import decode_update, encode_weights, schema_of
from nima.wire.votes import read_votes, write_votes
from provider_image.work import perform
from requestor.audits.training import TrainingAudit
from requestor.backends.base import Outcome, Provider, Task

BACKBONE = "mobilenet_v2"
FOX = Provider("0x1", "bold-fox")
PHOTOS = 8


@dataclasses.dataclass(frozen=True)
class Work:
    """A training task, and the folder in which an honest provider has done it."""

    task: Task
    folder: Path
    result: JobResult

    def outcome(self, audit: TrainingAudit, folder: Path | None = None, result: JobResult | None = None) -> Outcome:
        """Returns the outcome of a provider whose files lie in a folder, with the states that the audit asks for."""
        folder, result = folder or self.folder, result or self.result
        task = audit.with_evidence(self.task)
        assert task.evidence is not None
        states = {number: folder / state_file(number) for number in task.evidence.choose(result)}
        return Outcome(task, FOX, result, folder / "update.safetensors", seconds=9.0, states=states)

    def update(self, folder: Path | None = None) -> dict[str, Tensor]:
        model, _ = checkpoint.load(self.task.store[0])
        assert self.task.job.plan is not None
        schema = schema_of(model.trainable_parameters(self.task.job.plan.trainable_blocks))
        return decode_update((folder or self.folder) / "update.safetensors", schema)


def do(task: Task, folder: Path) -> JobResult:
    """Does a task as the provider program does."""
    folder.mkdir(exist_ok=True)
    assert task.weights is not None
    (folder / WEIGHTS_FILE).write_bytes(task.weights.read_bytes())
    return perform(dataclasses.replace(task.job, store=str(task.store[0].parent)), folder)


@pytest.fixture(scope="module", params=[0, 1], ids=["head", "block"])
def work(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Work:
    store = tmp_path_factory.mktemp("store")
    photos = shard(PHOTOS)
    assert photos.votes is not None
    model = initial_model(BACKBONE, None, 0, prior=photos.votes.sum(axis=0), multi_level=True)
    standardise_features(model, photos.jpegs)
    checkpoint.save(store / "draft", model, {})
    base = sha256_of(store / "draft")
    (store / "draft").rename(store / f"{base}.safetensors")
    info = write_shard(store, photos.image_ids, None, photos.jpegs)
    votes = write_votes(store, photos.image_ids, photos.votes)
    rate = 0.01 if request.param == 0 else 1e-5  # a block with random weights needs small steps
    plan = TrainingPlan(20, 4, rate, rate, 0.9, 1e-4, trainable_blocks=request.param, seed=3, augment=False)
    weights = store / "weights"
    encode_weights(weights, model.trainable_parameters(plan.trainable_blocks))
    job = Job(
        PROTOCOL, "train", "round-0001-client-0000", BACKBONE, "/", base, (info.sha256,), plan, 1,
        weights=sha256_of(weights), votes=(votes,),
    )  # fmt: skip
    files = tuple(store / f"{name}.safetensors" for name in (base, info.sha256, votes))
    task = Task(job, files, weights, 60.0, 10**8)
    return Work(task, store / "job", do(task, store / "job"))


def audit_of(work: Work, share: float = 1.0) -> TrainingAudit:
    return TrainingAudit(work.task.store[0], share)


def test_an_honest_training_passes_in_every_segment(work: Work) -> None:
    audit = audit_of(work)
    outcome = work.outcome(audit)
    assert sorted(outcome.states) == list(range(1, POINTS))
    assert audit.check(outcome, work.update()) is None
    assert audit.repeat_all(work.task, work.update()) is None


def test_an_honest_training_on_another_processor_passes(work: Work, tmp_path: Path) -> None:
    with torch.backends.mkldnn.flags(enabled=False):
        result = do(dataclasses.replace(work.task, job=dataclasses.replace(work.task.job, threads=2)), tmp_path)
    torch.set_num_threads(1)
    audit = audit_of(work)
    assert audit.check(work.outcome(audit, tmp_path, result), work.update(tmp_path)) is None


def flipped_votes(task: Task) -> Task:
    ids = read_shard(task.store[1]).image_ids
    votes = write_votes(task.store[0].parent, ids, read_votes(task.store[2], ids)[:, ::-1])
    return dataclasses.replace(task, job=dataclasses.replace(task.job, votes=(votes,)))


def own_photos(task: Task) -> Task:
    other = shard(PHOTOS + 3)
    photos = read_shard(task.store[1])
    info = write_shard(task.store[0].parent, photos.image_ids, None, other.jpegs[3:])
    return dataclasses.replace(task, job=dataclasses.replace(task.job, shards=(info.sha256,)))


def another_rate(task: Task) -> Task:
    assert task.job.plan is not None
    plan = dataclasses.replace(task.job.plan, lr_head=1.2 * task.job.plan.lr_head)
    return dataclasses.replace(task, job=dataclasses.replace(task.job, plan=plan))


@pytest.mark.parametrize("lie", [flipped_votes, own_photos, another_rate])
def test_what_is_false_throughout_is_false_in_every_segment(
    work: Work, lie: Callable[[Task], Task], tmp_path: Path
) -> None:
    result, audit = do(lie(work.task), tmp_path), audit_of(work)
    for segment in (0, POINTS // 2, POINTS - 1):
        outcome = work.outcome(audit, tmp_path, result)
        audit._segments[work.task.job.job_id] = [segment]
        reason = audit.check(outcome, work.update(tmp_path))
        assert reason is not None, f"segment {segment}"


def test_a_lie_in_one_segment_is_found_in_that_one(work: Work) -> None:
    lie = {name: -values for name, values in work.update().items()}
    found, audit = [], audit_of(work)
    for segment in range(POINTS):
        outcome = work.outcome(audit)
        audit._segments[work.task.job.job_id] = [segment]
        found.append(audit.check(outcome, lie) is not None)
    assert found == [*[False] * (POINTS - 1), True]
    assert audit.repeat_all(work.task, lie) is not None


def test_a_state_that_was_not_committed_to_is_found(work: Work, tmp_path: Path) -> None:
    audit = audit_of(work)
    outcome = work.outcome(audit)
    other = tmp_path / "state"
    other.write_bytes(work.folder.joinpath(state_file(4)).read_bytes()[:-4] + np.float32(1).tobytes())
    outcome = dataclasses.replace(outcome, states={**outcome.states, 5: other})
    assert (
        audit.check(outcome, work.update())
        == "the state after segment 5 of its training is not the one that it had named"
    )


def test_a_false_velocity_is_found(work: Work, tmp_path: Path) -> None:
    """The parameters are honest; a training that goes on from the false velocity would end where the provider likes."""
    model, _ = checkpoint.load(work.task.store[0])
    assert work.task.job.plan is not None
    parameters = model.trainable_parameters(work.task.job.plan.trainable_blocks)
    state = read_state(work.folder / state_file(5), parameters)
    faster = {name: 3 * values for name, values in state.velocities.items()}
    write_state(tmp_path / "state", dataclasses.replace(state, velocities=faster))
    named = [*work.result.states]
    named[4] = sha256_of(tmp_path / "state")
    audit = audit_of(work)
    outcome = work.outcome(audit)
    assert outcome.result is not None
    outcome = dataclasses.replace(
        outcome,
        result=dataclasses.replace(outcome.result, states=tuple(named)),
        states={**outcome.states, 5: tmp_path / "state"},
    )
    audit._segments[work.task.job.job_id] = [4]
    assert "velocities after segment 5" in str(audit.check(outcome, work.update()))


def test_states_that_are_missing_or_malformed_are_found(work: Work, tmp_path: Path) -> None:
    audit = audit_of(work)
    few = dataclasses.replace(work.result, states=work.result.states[:3])
    assert "names 3 states" in str(audit.check(work.outcome(audit, result=few), work.update()))
    (tmp_path / "garbage").write_bytes(b"garbage")
    named = (sha256_of(tmp_path / "garbage"), *work.result.states[1:])
    outcome = work.outcome(audit)
    outcome = dataclasses.replace(
        outcome,
        result=dataclasses.replace(work.result, states=named),
        states={**outcome.states, 1: tmp_path / "garbage"},
    )
    assert "no safetensors file" in str(audit.check(outcome, work.update()))


def test_the_largest_state_bounds_the_file(work: Work) -> None:
    model, _ = checkpoint.load(work.task.store[0])
    assert work.task.job.plan is not None
    limit = max_state_bytes(model.trainable_parameters(work.task.job.plan.trainable_blocks))
    assert (work.folder / state_file(1)).stat().st_size <= limit
    task = audit_of(work).with_evidence(work.task)
    assert task.evidence is not None
    assert task.evidence.largest == limit
