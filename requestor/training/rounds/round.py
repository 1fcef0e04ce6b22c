"""Runs one federated round: sends the weights, has the updates judged, and changes the model by the admitted ones."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from nima.ratings import Metrics
from nima.safe_io import sha256_of
from nima.wire import TrainingPlan, encode_weights, max_update_bytes, schema_of
from requestor.audits import TrainingAudit
from requestor.backends import Backend, Outcome, RoundLimits
from requestor.records import OutcomeEntry, RoundEntry, finite_or_none
from requestor.training.data import Client
from requestor.training.providers import Providers, Verdict
from requestor.training.rounds.admission import Admission, AdmissionHistory
from requestor.training.rounds.aggregation import AGGREGATION_RULES, Rule, StoredUpdate
from requestor.training.rounds.assignment import Frame, assign
from requestor.training.rounds.collection import Collection
from requestor.training.rounds.gate import Evaluate
from requestor.training.rounds.root import HoldoutRoot
from requestor.training.rounds.server_optimizer import State
from requestor.training.rounds.vectors import moved


@dataclass(frozen=True)
class RoundReport:
    """The result of a round.

    number: number of the round.
    admitted: number of admitted updates.
    loss: mean training loss of the admitted updates, as the providers claim it; NaN if there are none.
    updates: the record of each outcome, in the order of arrival.
    moved: True if the round changed the model.
    reason: the reason for people why the model changed, or why it did not.
    emd: EMD of the new model on the gate's hold-out photos; None without a gate, or if the model did not change.
    server: state of the server's optimiser after the round.
    """

    number: int
    admitted: int
    loss: float
    updates: tuple[OutcomeEntry, ...]
    moved: bool = False
    reason: str = ""
    emd: float | None = None
    server: State = field(default_factory=dict)

    def failures(self) -> list[str]:
        """Returns a text `provider: reason` for each outcome that was not admitted."""
        return [f"{entry.provider}: {entry.verdict}" for entry in self.updates if not entry.admitted]

    def entry(self, holdout: Metrics | None = None, spent: Decimal | None = None) -> RoundEntry:
        """Makes the round's entry for the run's record.

        Args:
            holdout: metrics of the new model on the hold-out; None if the model did not change.
            spent: GLM that the run has spent so far; None if the model did not change.
        """
        return RoundEntry(
            round=self.number,
            moved=self.moved,
            updates=self.updates,
            loss=finite_or_none(self.loss) if self.moved else None,
            holdout=None if holdout is None else holdout.as_dict(),
            spent_glm=spent,
        )


@dataclass(frozen=True)
class RoundSettings:
    """Holds the settings that all rounds of a run share.

    clients: the clients; each gets one task in a round.
    plan: the training plan of every client; its seed is the run's seed.
    base: SHA-256 and path of the base model, in which providers replace the trained parameters by the round's weights.
    backbone: name of the base model's backbone.
    folder: an existing folder, for the weights and the updates while a round runs.
    rule: the aggregation rule, which makes a step of the updates.
    limits: limits of the time that a round waits, and the number of updates that it needs; None for those that follow
        from the work of its tasks.
    audit: computes segments of the trainings again; None believes them.
    root: computes this machine's own update; None compares updates with their median only.
    keeps_updates: True leaves the updates on disk until `forget_updates`. If the process is killed before, the same
        round uses them when it is done again.
    """

    clients: Sequence[Client]
    plan: TrainingPlan
    base: tuple[str, Path]
    backbone: str
    folder: Path
    rule: Rule = AGGREGATION_RULES["mean"]
    limits: RoundLimits | None = None
    audit: TrainingAudit | None = None
    root: HoldoutRoot | None = None
    keeps_updates: bool = False


async def run_round(
    settings: RoundSettings,
    backend: Backend,
    number: int,
    weights: dict[str, torch.Tensor],
    on_outcome: Callable[[Outcome, Verdict], None],
    *,
    server: State | None = None,
    evaluate: Evaluate | None = None,
    history: AdmissionHistory | None = None,
    providers: Providers | None = None,
) -> RoundReport:
    """Trains every client once from `weights`, and changes `weights` in place by the step that the rule computes.

    Whatever the backend does, the round ends within the longest time of its limits plus the time that judging takes.

    Args:
        settings: the settings, which are the same in all rounds of a run.
        backend: an entered backend, which has the tasks computed.
        number: the round's number, from 1; the seeds depend on it.
        weights: the trained parameters, name → float32 tensor.
        on_outcome: is called after each outcome is judged.
        server: state of the server's optimiser after the last round that changed the model; None before that.
        evaluate: computes the losses on the hold-out for the gate; None admits updates without the gate, and never
            rolls back.
        history: describes the updates that earlier rounds admitted; None if there are none.
        providers: is told of every provider's result and its verdict; None for a new record of the providers.

    Returns:
        The report. If too few updates are admitted for a quorum, or if all together worsen the hold-out, `weights`
        and the server's state stay as they were, and the report gives the reason.
    """
    server, providers = server or {}, providers or Providers()
    weights_file = settings.folder / f"round-{number:04d}.safetensors"
    updates_folder = _updates_folder(settings, number)
    if not settings.keeps_updates:
        shutil.rmtree(updates_folder, ignore_errors=True)
    updates_folder.mkdir(exist_ok=True)
    encode_weights(weights_file, weights)
    largest = max_update_bytes(schema_of(weights))
    frame = Frame(
        number, settings.plan, settings.base, settings.backbone, (sha256_of(weights_file), weights_file), largest
    )
    assignments = [
        assign(frame, index, client, providers.relative_speed(index)) for index, client in enumerate(settings.clients)
    ]
    limits = settings.limits or RoundLimits.of([assignment.task for assignment in assignments], len(assignments))
    if settings.audit is not None:
        assignments = [replace(one, task=settings.audit.with_evidence(one.task)) for one in assignments]
    plan = replace(settings.plan, seed=settings.plan.seed + number)
    root = None if settings.root is None else partial(settings.root, weights, plan)
    admission = await asyncio.to_thread(Admission, weights, evaluate, history, settings.audit, root)
    try:
        collection = Collection(admission, providers, limits, updates_folder, on_outcome)
        await collection.collect(backend, assignments)
        report = RoundReport(number, len(collection.updates), collection.loss, collection.entries, server=server)
        quorum = limits.quorum_of(len(assignments))
        if report.admitted < quorum:
            return replace(
                report, reason=f"{report.admitted} of the {quorum} updates that a quorum needs were admitted"
            )
        step, next_server = await asyncio.to_thread(_step, settings.rule, collection.updates, server)
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
        if not settings.keeps_updates:
            forget_updates(settings, number)


def forget_updates(settings: RoundSettings, number: int) -> None:
    """Deletes the updates of a round; to be called when what the round has changed is on disk."""
    shutil.rmtree(_updates_folder(settings, number), ignore_errors=True)


def _updates_folder(settings: RoundSettings, number: int) -> Path:
    return settings.folder / f"round-{number:04d}-updates"


def _step(rule: Rule, updates: Sequence[StoredUpdate], server: State) -> tuple[NDArray[np.float64], State]:
    return rule.server(rule.combine(updates), server)
