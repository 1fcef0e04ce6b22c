"""One federated round: send the weights out, judge the updates that come in, and step the model by what is admitted."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from nima.ratings import Metrics
from nima.safe_io import sha256_of
from nima.wire import TrainingPlan, encode_weights, max_update_bytes, schema_of
from requestor.backends import LIMITS, Backend, Outcome, RoundLimits
from requestor.records import OutcomeEntry, RoundEntry, finite
from requestor.training.data import Client
from requestor.training.providers import Providers, Verdict
from requestor.training.rounds.admission import Admission, History
from requestor.training.rounds.aggregation import RULES, Rule, StoredUpdate
from requestor.training.rounds.assignment import Frame, assign
from requestor.training.rounds.collection import Collection
from requestor.training.rounds.gate import Evaluate
from requestor.training.rounds.server_optimizer import State
from requestor.training.rounds.vectors import moved


@dataclass(frozen=True)
class RoundReport:
    """What a round did.

    admitted: updates that were.
    loss: their mean training loss, as the providers claim it; NaN without any.
    updates: one entry an outcome.
    moved: whether the model was; reason: why, or why not.
    emd: of the new model on the gate's hold-out photos; None where the model did not move, or there is no gate.
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
        return [f"{entry.provider}: {entry.verdict}" for entry in self.updates if not entry.admitted]

    def entry(self, holdout: Metrics | None = None, spent: Decimal | None = None) -> RoundEntry:
        """Makes the round's line for the run's record.

        Args:
            holdout: of the new model; spent: GLM, by the run so far. Both None where the model did not move.
        """
        return RoundEntry(
            round=self.number,
            moved=self.moved,
            updates=self.updates,
            loss=finite(self.loss) if self.moved else None,
            holdout=None if holdout is None else holdout.as_dict(),
            spent_glm=spent,
        )


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
    largest = max_update_bytes(schema_of(weights))
    frame = Frame(number, plan, base, backbone, (sha256_of(weights_file), weights_file), largest, limits.attempt)
    assignments = [
        assign(frame, index, client, providers.relative_speed(index)) for index, client in enumerate(clients)
    ]
    admission = await asyncio.to_thread(Admission, weights, evaluate, history)
    try:
        collection = Collection(admission, providers, limits, updates_folder, on_outcome)
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


def _step(rule: Rule, updates: Sequence[StoredUpdate], server: State) -> tuple[NDArray[np.float64], State]:
    return rule.server(rule.combine(updates), server)
