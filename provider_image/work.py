"""Does each kind of job: loads files by their hashes, calls `nima` once, and writes the output."""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from nima.errors import NimaError
from nima.model import Nima, checkpoint
from nima.safe_io import check_sha256, sha256_of
from nima.training import Course, TrainingState, embedded_parts, points, predict, train, write_state
from nima.version import VERSION
from nima.wire import (
    FEATURES_FILE,
    PREDICTIONS_FILE,
    PROTOCOL,
    UPDATE_FILE,
    WEIGHTS_FILE,
    Job,
    JobKind,
    JobResult,
    Shard,
    TrainingPlan,
    decode_weights,
    encode_features,
    encode_predictions,
    encode_update,
    read_shard,
    read_votes,
    schema_of,
    state_file,
)
from provider_image.kept_activations import keep_activations
from provider_image.synthetic import synthetic_shard

IMAGE_MODELS = "/opt/nima-golem/models"
_BENCHMARK_IMAGES = 64


class WorkError(NimaError):
    """The files of a job do not belong together."""


def perform(job: Job, folder: Path) -> JobResult:
    """Does `job` in its `folder`, and returns its result; raises `NimaError` if it cannot be done."""
    if job.threads:
        torch.set_num_threads(job.threads)
    model = _load_model(job, folder)
    shards = [read_shard(check_sha256(_stored(job, sha256), sha256)) for sha256 in job.shards]
    return _KINDS[job.kind](job, folder, model, shards)


def _train(job: Job, folder: Path, model: Nima, shards: list[Shard]) -> JobResult:
    plan, shards = _plan_of(job), _with_votes(job, shards)
    trained = model.trainable_parameters(plan.trainable_blocks)
    received = {name: parameter.detach().clone() for name, parameter in trained.items()}
    states: list[str] = []

    def keep(number: int, state: TrainingState) -> None:
        if number < len(points(plan.steps)) - 1:  # the update tells the last state
            path = folder / state_file(number)
            write_state(path, state)
            states.append(sha256_of(path))

    with keep_activations(Path(job.store), job.shards, model, shards, plan) as frozen:
        report = train(model, shards, plan, _print_progress(plan), frozen, Course(keep=keep))
    encode_update(folder / UPDATE_FILE, received, trained, plan.seed)
    result = _success(job, report.samples, report.seconds, report.loss, folder / UPDATE_FILE)
    return replace(result, states=tuple(states))


def _evaluate(job: Job, folder: Path, model: Nima, shards: list[Shard]) -> JobResult:
    started = time.perf_counter()
    probabilities = np.concatenate([predict(model, shard.jpegs) for shard in shards])
    image_ids = np.concatenate([shard.image_ids for shard in shards])
    encode_predictions(folder / PREDICTIONS_FILE, image_ids, probabilities)
    return _success(job, len(image_ids), time.perf_counter() - started, None, folder / PREDICTIONS_FILE)


def _embed(job: Job, folder: Path, model: Nima, shards: list[Shard]) -> JobResult:
    started = time.perf_counter()
    image_ids = np.concatenate([shard.image_ids for shard in shards])
    parts = (part for shard in shards for part in embedded_parts(model, shard.jpegs))
    encode_features(folder / FEATURES_FILE, image_ids, parts)
    return _success(job, len(image_ids), time.perf_counter() - started, None, folder / FEATURES_FILE)


def _benchmark(job: Job, folder: Path, model: Nima, shards: list[Shard]) -> JobResult:
    """Times this machine: a training by the job's plan, or a prediction if there is no plan; writes no output."""
    images = job.plan.batch_size if job.plan else _BENCHMARK_IMAGES
    shards = shards or [synthetic_shard(images, model.preparation.stored_size)]
    if job.plan is not None:
        report = train(model, shards, job.plan)
        return _success(job, report.samples, report.seconds, None, None)
    started = time.perf_counter()
    samples = sum(len(predict(model, shard.jpegs)) for shard in shards)
    return _success(job, samples, time.perf_counter() - started, None, None)


_KINDS: dict[JobKind, Callable[[Job, Path, Nima, list[Shard]], JobResult]] = {
    "train": _train,
    "evaluate": _evaluate,
    "embed": _embed,
    "benchmark": _benchmark,
}


def _load_model(job: Job, folder: Path) -> Nima:
    """Loads the base model, and replaces those parameters that the job's weights contain."""
    model, _ = checkpoint.load(check_sha256(_stored(job, job.base), job.base))
    if model.backbone != job.backbone:
        raise WorkError(f"The base model is a {model.backbone}, and the job is for a {job.backbone}.")
    path = folder / WEIGHTS_FILE
    if job.weights is None:
        if path.exists():
            # Without this error the job would give a result of the base model, and nobody would notice.
            raise WorkError(f"{WEIGHTS_FILE} lies beside the job, which does not name its hash in `weights`.")
        return model
    parameters = dict(model.named_parameters())
    weights = decode_weights(check_sha256(path, job.weights), schema_of(parameters), partial=True)
    with torch.no_grad():
        for name, values in weights.items():
            parameters[name].copy_(values)
    return model


def _with_votes(job: Job, shards: list[Shard]) -> list[Shard]:
    """Adds to the shards the votes of the files that the job names."""
    if not job.votes:
        return shards
    return [
        replace(shard, votes=read_votes(check_sha256(_stored(job, sha256), sha256), shard.image_ids))
        for shard, sha256 in zip(shards, job.votes, strict=True)
    ]


def _plan_of(job: Job) -> TrainingPlan:
    assert job.plan is not None, "Job checks that a training has a plan"
    return job.plan


def _stored(job: Job, sha256: str) -> Path:
    """Returns the path of a file: in the store if it was sent, else among the models of the image if it is there."""
    sent, own = (Path(folder) / f"{sha256}.safetensors" for folder in (job.store, IMAGE_MODELS))
    return own if own.exists() and not sent.exists() else sent


def _success(job: Job, samples: int, seconds: float, loss: float | None, output: Path | None) -> JobResult:
    return JobResult(
        protocol=PROTOCOL,
        job_id=job.job_id,
        kind=job.kind,
        ok=True,
        error=None,
        samples=samples,
        seconds=seconds,
        loss=loss,
        output=output.name if output else None,
        output_sha256=sha256_of(output) if output else None,
        versions=_versions(),
    )


def _versions() -> dict[str, str]:
    # Backbones of torchvision have imported it, by a way that works with all builds; the others do not need it.
    torchvision = sys.modules.get("torchvision")
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": "not used" if torchvision is None else str(torchvision.__version__),
        "nima-golem": VERSION,
    }


def _print_progress(plan: TrainingPlan) -> Callable[[int, float], None]:
    every = max(1, plan.steps // 20)

    def show(step: int, loss: float) -> None:
        if step % every == 0 or step == plan.steps:
            print(f"step {step}/{plan.steps} loss {loss:.4f}", flush=True)

    return show
