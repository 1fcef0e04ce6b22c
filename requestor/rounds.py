"""One federated round: send the weights out, take the updates in, average what is admitted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from nima.files import sha256_of
from nima.jobs import PROTOCOL, Job, TrainingPlan
from nima.update import encode_weights, max_bytes, schema_of
from requestor.admission import Admitted, Verdict, admit_update
from requestor.aggregation import weighted_mean
from requestor.backends.base import Backend, Outcome, Task

ROUND_SECONDS = 1800.0  # after which a round closes with what it has
ATTEMPT_SECONDS = 900.0  # of one task on one provider, its first transfers included
QUORUM = 0.5  # share of the round's updates without which the model stays as it is


@dataclass(frozen=True)
class Client:
    """A part of the training images that is trained on as one: the shards' hashes, paths and image counts."""

    shards: tuple[str, ...]
    paths: tuple[Path, ...]
    images: tuple[int, ...]

    def for_round(self, number: int, samples: int) -> Client:
        """The shards that a round needs for so many samples: the next ones in turn, at least one."""
        start = number % len(self.shards)
        order = [(start + i) % len(self.shards) for i in range(len(self.shards))]
        chosen: list[int] = []
        for index in order:
            chosen.append(index)
            if sum(self.images[i] for i in chosen) >= samples:
                break
        return Client(
            tuple(self.shards[i] for i in chosen),
            tuple(self.paths[i] for i in chosen),
            tuple(self.images[i] for i in chosen),
        )


@dataclass(frozen=True)
class RoundReport:
    """What a round did. `updates`: one entry a task, for metrics.jsonl: provider, verdict, samples, seconds, loss."""

    number: int
    admitted: int
    loss: float
    updates: list[dict[str, Any]]

    def failures(self) -> list[str]:
        return [f"{entry['provider']}: {entry['verdict']}" for entry in self.updates if not entry["admitted"]]


async def run_round(
    number: int,
    backend: Backend,
    clients: Sequence[Client],
    plan: TrainingPlan,
    base: tuple[str, Path],
    backbone: str,
    weights: dict[str, torch.Tensor],
    folder: Path,
    on_outcome: Callable[[Outcome, Verdict], None],
) -> RoundReport:
    """Train every client once from `weights`, and move `weights` in place by the weighted mean of the admitted updates.

    Args:
        number: of the round, from 1; goes into the seeds.
        clients: one task each.
        plan: for every client; its seed is the run's.
        base: hash and path of the base model, over which providers lay the weights.
        weights: the trained parameters, name → float32 tensor.
        folder: existing, for the weights file.
        on_outcome: called as each outcome is judged.

    Returns:
        The report. With less than a quorum of admitted updates `weights` are untouched and `admitted` says so.
    """
    weights_file = folder / f"round-{number:04d}.safetensors"
    encode_weights(weights_file, weights)
    weights_hash = sha256_of(weights_file)
    largest = max_bytes(schema_of(weights))
    tasks = []
    for index, client in enumerate(clients):
        part = client.for_round(number - 1, plan.steps * plan.batch_size)
        job = Job(
            protocol=PROTOCOL, kind="train", job_id=f"round-{number:04d}-client-{index:04d}", backbone=backbone,
            store="/", base=base[0], shards=part.shards, threads=0, weights=weights_hash,
            plan=replace(plan, seed=plan.seed + 1_000_003 * number + index),
        )  # fmt: skip
        tasks.append(Task(job, (base[1], *part.paths), weights_file, ATTEMPT_SECONDS, largest))

    admitted: list[Admitted] = []
    updates: list[dict[str, Any]] = []
    losses: list[float] = []
    async for outcome in backend.run(tasks, ROUND_SECONDS):
        verdict, update = admit_update(outcome, weights)
        if outcome.output is not None:
            outcome.output.unlink(missing_ok=True)
        if update is not None:
            admitted.append(update)
            if outcome.result is not None and outcome.result.loss is not None:
                losses.append(outcome.result.loss)
        updates.append(_entry(outcome, verdict))
        on_outcome(outcome, verdict)
    weights_file.unlink()
    if len(admitted) >= QUORUM * len(tasks):
        mean = weighted_mean((update.delta, update.samples) for update in admitted)
        for name, values in mean.items():
            weights[name] += torch.from_numpy(values).float()
    loss = sum(losses) / len(losses) if losses else float("nan")
    return RoundReport(number, len(admitted), loss, updates)


def enough(report: RoundReport) -> bool:
    """Whether the round moved the model."""
    return report.admitted >= QUORUM * len(report.updates)


def _entry(outcome: Outcome, verdict: Verdict) -> dict[str, Any]:
    return {
        "job": outcome.task.job.job_id,
        "provider": outcome.provider.name if outcome.provider else None,
        "admitted": verdict.admitted,
        "verdict": verdict.reason,
        "norm": verdict.norm if verdict.norm == verdict.norm else None,
        "loss": outcome.result.loss if outcome.result else None,
        "seconds": round(outcome.seconds, 2),
    }
