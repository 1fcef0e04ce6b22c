"""What comes back in a round until it closes: judged on arrival, given out again if refused, and looked at twice."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path

from requestor.backends import Backend, Outcome, Provider, RoundLimits, items_until, renamed_task
from requestor.records import OutcomeEntry
from requestor.training.providers import Providers, Verdict, outcome_entry
from requestor.training.rounds.admission import Admission
from requestor.training.rounds.aggregation import StoredUpdate
from requestor.training.rounds.assignment import Assignment

ATTEMPTS = 2  # of a client's work in one round: what one provider did badly another does again, if there is time


@dataclass(frozen=True)
class _Arrival:
    """An update that was admitted, and its entry in the round's record."""

    outcome: Outcome
    verdict: Verdict
    update: StoredUpdate
    entry: OutcomeEntry


class Collection:
    """The updates of one round, judged as they come in until the round closes.

    Args:
        admission: the round's judge; providers: told who brought what.
        folder: existing, for the updates that were admitted.
        on_outcome: called as each outcome is judged, before the providers are told.
    """

    def __init__(
        self,
        admission: Admission,
        providers: Providers,
        limits: RoundLimits,
        folder: Path,
        on_outcome: Callable[[Outcome, Verdict], None],
    ) -> None:
        self._entries: dict[str, OutcomeEntry] = {}  # by job id
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
    def entries(self) -> tuple[OutcomeEntry, ...]:
        """One an outcome, in the order in which they came."""
        return tuple(self._entries.values())

    @property
    def updates(self) -> list[StoredUpdate]:
        """Those that were admitted, in an order that is not chance: sums in floating point depend on it."""
        return sorted((arrival.update for arrival in self._arrivals), key=lambda update: update.path)

    @property
    def loss(self) -> float:
        """Mean training loss of those that were admitted, as the providers claim it; NaN without any."""
        losses = [arrival.entry.loss for arrival in self._arrivals if arrival.entry.loss is not None]
        return sum(losses) / len(losses) if losses else math.nan

    async def collect(self, backend: Backend, assignments: Sequence[Assignment]) -> None:
        """Run all assignments; what was refused is given to another provider, if it is needed and there is time."""
        tasks, waiting = len(assignments), list(assignments)
        for _ in range(ATTEMPTS):
            refused = await self._attempt(backend, waiting, tasks)
            enough_came = len(self._arrivals) >= self._limits.needed(tasks)
            if not refused or enough_came or self._elapsed() >= self._closes(tasks):
                break
            waiting = [replace(assignment, task=renamed_task(assignment.task)) for assignment in refused]
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
            job_id = arrival.outcome.task.job.job_id
            self._entries[job_id] = replace(arrival.entry, kind=verdict.kind, verdict=verdict.reason)
            self._on_outcome(arrival.outcome, verdict)
            self._refuse(arrival.outcome.provider, verdict)
        self._arrivals = kept

    async def _attempt(self, backend: Backend, assignments: list[Assignment], tasks: int) -> list[Assignment]:
        """One run of the backend; returns the assignments whose results were refused."""
        waiting = {assignment.task.job.job_id: assignment for assignment in assignments}
        refused = []
        outcomes = backend.run([a.task for a in assignments], self._limits.longest - self._elapsed())
        async with aclosing(items_until(outcomes, lambda: self._started + self._closes(tasks))) as arriving:
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
        entry = outcome_entry(outcome, verdict, assignment.samples, assignment.client)
        if values is not None:
            update = StoredUpdate.write(self._folder / outcome.task.job.job_id, values, assignment.samples)
            self._arrivals.append(_Arrival(outcome, verdict, update, entry))
            self._admitted.append(arrived)
        if verdict.kind != "no update":
            self._answered.append(arrived)
        self._entries[outcome.task.job.job_id] = entry
        self._on_outcome(outcome, verdict)
        self._tell_providers(outcome, verdict, assignment)
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
