"""One federated round: send the weights out, judge the updates that come in, and step the model by what is admitted."""

from __future__ import annotations

import asyncio
import math
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nima.files import sha256_of
from nima.training_plan import TrainingPlan
from nima.update import encode_weights, max_bytes, schema_of
from requestor.admission import Admission, Evaluate, History, Verdict
from requestor.aggregation import RULES, Rule, StoredUpdate
from requestor.assignment import Assignment, Client, Frame, assign
from requestor.backends.base import Backend, Outcome, Provider
from requestor.closing import RoundLimits, until
from requestor.parameters import moved
from requestor.providers import Providers
from requestor.server_optimizer import State

LIMITS = RoundLimits()
ROUND_SECONDS = LIMITS.seconds
ATTEMPT_SECONDS = LIMITS.attempt
ATTEMPTS = 2  # of a client's work in one round: what one provider did badly another does again, if there is time


@dataclass(frozen=True)
class RoundReport:
    """What a round did.

    admitted: updates that were.
    loss: their mean training loss, as the providers claim it; NaN without any.
    updates: one entry an outcome, for metrics.jsonl: provider, verdict, samples, seconds, loss, …
    moved: whether the model was; reason: why, or why not.
    emd: of the new model on the gate's hold-out photos; None where the model did not move, or there is no gate.
    server: state of the server's optimiser after the round.
    """

    number: int
    admitted: int
    loss: float
    updates: list[dict[str, Any]]
    moved: bool = False
    reason: str = ""
    emd: float | None = None
    server: State = field(default_factory=dict)

    def failures(self) -> list[str]:
        return [f"{entry['provider']}: {entry['verdict']}" for entry in self.updates if not entry["admitted"]]


def enough(report: RoundReport) -> bool:
    """Whether the round moved the model."""
    return report.moved


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
    *,
    rule: Rule = RULES["mean"],
    server: State | None = None,
    evaluate: Evaluate | None = None,
    history: History | None = None,
    providers: Providers | None = None,
    limits: RoundLimits = LIMITS,
) -> RoundReport:
    """Train every client once from `weights`, and move `weights` in place by what the rule makes of the updates.

    It ends within `limits.longest` and the time of judging, whatever the backend does.

    Args:
        number: of the round, from 1; goes into the seeds.
        clients: one task each.
        plan: for every client; its seed is the run's.
        base: hash and path of the base model, over which providers lay the weights.
        weights: the trained parameters, name → float32 tensor.
        folder: existing, for the weights and the updates while the round goes on.
        on_outcome: called as each outcome is judged.
        rule: how updates become a step; server: its state after the last round that moved the model.
        evaluate: the gate's eyes; None admits updates without a look at the hold-out, and never rolls back.
        history: what was admitted before.
        providers: told who brought what.
        limits: how long to wait, and for how many.

    Returns:
        The report. Without a quorum of admitted updates, or where their combination worsens the hold-out,
        `weights` are untouched, the server's state is the old one, and the report says why.
    """
    server, providers = server or {}, providers or Providers()
    weights_file = folder / f"round-{number:04d}.safetensors"
    updates_folder = folder / f"round-{number:04d}-updates"
    shutil.rmtree(updates_folder, ignore_errors=True)  # of a run that was killed
    updates_folder.mkdir()
    encode_weights(weights_file, weights)
    largest = max_bytes(schema_of(weights))
    frame = Frame(number, plan, base, backbone, (sha256_of(weights_file), weights_file), largest, limits.attempt)
    assignments = [
        assign(frame, index, client, providers.relative_speed(index)) for index, client in enumerate(clients)
    ]
    admission = await asyncio.to_thread(Admission, weights, evaluate, history)
    try:
        collection = _Collection(admission, providers, limits, updates_folder, on_outcome)
        await collection.collect(backend, assignments)
        report = RoundReport(number, len(collection.updates), collection.loss, collection.entries, server=server)
        quorum = limits.quorum_of(len(assignments))
        if report.admitted < quorum:
            return replace(report, reason=f"{report.admitted} updates of the {quorum} that it takes were admitted")
        step, next_server = await asyncio.to_thread(_step, rule, collection.updates, server)
        emd = None
        if gate := admission.gate:
            emd, good = await asyncio.to_thread(gate.try_step, step)
            if not good:
                reason = (
                    f"the updates together worsen the hold-out EMD from {gate.before:.4f} to {emd:.4f}: rolled back"
                )
                return replace(report, reason=reason)
        for name, values in moved(weights, step).items():
            weights[name].copy_(values)
        return replace(report, moved=True, reason="the model moved", emd=emd, server=next_server)
    finally:
        weights_file.unlink(missing_ok=True)
        shutil.rmtree(updates_folder, ignore_errors=True)


@dataclass(frozen=True)
class _Arrival:
    """An update that was admitted; `entry` is its line's, for metrics.jsonl."""

    outcome: Outcome
    verdict: Verdict
    update: StoredUpdate
    entry: dict[str, Any]


class _Collection:
    """The updates of one round, judged as they come in until the round closes."""

    def __init__(
        self,
        admission: Admission,
        providers: Providers,
        limits: RoundLimits,
        folder: Path,
        on_outcome: Callable[[Outcome, Verdict], None],
    ) -> None:
        self.entries: list[dict[str, Any]] = []
        self._arrivals: list[_Arrival] = []
        self._admission = admission
        self._providers = providers
        self._limits = limits
        self._folder = folder
        self._on_outcome = on_outcome
        self._started = time.monotonic()
        self._answered: list[float] = []
        self._admitted: list[float] = []
        self._harmful: list[tuple[Provider, Verdict]] = []

    @property
    def updates(self) -> list[StoredUpdate]:
        """Those that were admitted, in an order that is not chance: sums in floating point depend on it."""
        return sorted((arrival.update for arrival in self._arrivals), key=lambda update: update.path)

    @property
    def loss(self) -> float:
        losses = [arrival.entry["loss"] for arrival in self._arrivals if arrival.entry["loss"] is not None]
        return sum(losses) / len(losses) if losses else math.nan

    async def collect(self, backend: Backend, assignments: Sequence[Assignment]) -> None:
        """Run all assignments; what was refused is given to another provider, if it is needed and there is time."""
        tasks, waiting = len(assignments), list(assignments)
        for _ in range(ATTEMPTS):
            refused = await self._attempt(backend, waiting, tasks)
            enough_came = len(self._arrivals) >= self._limits.needed(tasks)
            if not refused or enough_came or self._elapsed() >= self._closes(tasks):
                break
            waiting = [_again(assignment) for assignment in refused]
        self._look_again()
        # Where nobody's update helps, the plan does not fit the photos, or too many are hostile to tell who is not.
        if self._arrivals:
            for provider, verdict in self._harmful:
                self._providers.refused(provider, verdict)

    def _look_again(self) -> None:
        """Take back what is implausible or harmful now that all are there."""
        norms = [arrival.verdict.norm for arrival in self._arrivals]
        kept = []
        for arrival in self._arrivals:
            verdict = self._admission.look_again(arrival.verdict, arrival.update, norms)
            if verdict.admitted:
                kept.append(arrival)
                continue
            arrival.entry.update(admitted=False, kind=verdict.kind, verdict=verdict.reason)
            self._refuse(arrival.outcome.provider, verdict)
            self._on_outcome(arrival.outcome, verdict)
        self._arrivals = kept

    async def _attempt(self, backend: Backend, assignments: list[Assignment], tasks: int) -> list[Assignment]:
        """One run of the backend; returns the assignments whose results were refused."""
        waiting = {assignment.task.job.job_id: assignment for assignment in assignments}
        refused = []
        outcomes = backend.run([a.task for a in assignments], self._limits.longest - self._elapsed())
        async with aclosing(until(outcomes, lambda: self._started + self._closes(tasks))) as arriving:
            async for outcome in arriving:
                assignment = waiting.pop(outcome.task.job.job_id, None)
                if assignment is None:
                    continue  # of a round that is over
                verdict = await self._take(outcome, assignment)
                if verdict.kind not in ("admitted", "no update"):
                    refused.append(assignment)
        for job_id, assignment in waiting.items():
            late = backend.status().at_work.get(job_id)
            await self._take(Outcome(assignment.task, late, error="the round closed before it came"), assignment)
        return refused

    async def _take(self, outcome: Outcome, assignment: Assignment) -> Verdict:
        arrived = self._elapsed()
        verdict, values = await asyncio.to_thread(self._admission.judge, outcome, assignment.samples)
        if outcome.output is not None:
            outcome.output.unlink(missing_ok=True)
        entry = _entry(outcome, verdict, assignment)
        if values is not None:
            update = StoredUpdate.write(self._folder / outcome.task.job.job_id, values, assignment.samples)
            self._arrivals.append(_Arrival(outcome, verdict, update, entry))
            self._admitted.append(arrived)
        if verdict.kind != "no update":
            self._answered.append(arrived)
        self._tell_providers(outcome, verdict, assignment)
        self.entries.append(entry)
        self._on_outcome(outcome, verdict)
        return verdict

    def _tell_providers(self, outcome: Outcome, verdict: Verdict, assignment: Assignment) -> None:
        if verdict.kind == "no update":
            return  # failed attempts are counted by the backend, which sees each of them
        if not verdict.admitted:
            self._refuse(outcome.provider, verdict)
        elif outcome.provider is not None:
            self._providers.admitted(
                outcome.provider, assignment.client, assignment.samples, outcome.seconds, outcome.cost
            )

    def _refuse(self, provider: Provider | None, verdict: Verdict) -> None:
        if provider is None:
            return
        if verdict.kind == "harmful":
            self._harmful.append((provider, verdict))  # until all are there
        else:
            self._providers.refused(provider, verdict)

    def _closes(self, tasks: int) -> float:
        return self._limits.closing_time(tasks, self._answered, self._admitted)

    def _elapsed(self) -> float:
        return time.monotonic() - self._started


def _again(assignment: Assignment) -> Assignment:
    """The same work under another name, so that nothing late of the first attempt can be taken for it."""
    job = assignment.task.job
    return replace(assignment, task=replace(assignment.task, job=replace(job, job_id=f"{job.job_id}-again")))


def _step(rule: Rule, updates: Sequence[StoredUpdate], server: State) -> tuple[NDArray[np.float64], State]:
    return rule.server(rule.combine(updates), server)


def _entry(outcome: Outcome, verdict: Verdict, assignment: Assignment) -> dict[str, Any]:
    return {
        "job": outcome.task.job.job_id,
        "client": assignment.client,
        "provider": outcome.provider.name if outcome.provider else None,
        "provider_id": outcome.provider.id if outcome.provider else None,
        "admitted": verdict.admitted,
        "kind": verdict.kind,
        "verdict": verdict.reason,
        "norm": _finite(verdict.norm),
        "emd": _finite(verdict.emd),
        "content": verdict.content,
        "samples": assignment.samples,
        "loss": outcome.result.loss if outcome.result else None,
        "seconds": round(outcome.seconds, 2),
        "cost_glm": None if outcome.cost is None else str(outcome.cost),
    }


def _finite(value: float) -> float | None:
    """JSON has neither NaN nor infinity."""
    return value if math.isfinite(value) else None
