"""Collects a round's updates: judges each on arrival, reassigns refused work once, and judges all again at the end."""

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

ATTEMPTS = 2  # attempts at a client's work in one round: after a refusal, another provider does it, if there is time


@dataclass(frozen=True)
class _Arrival:
    """An update that was admitted, and its entry in the round's record."""

    outcome: Outcome
    verdict: Verdict
    update: StoredUpdate
    entry: OutcomeEntry


class Collection:
    """Collects and judges the updates of one round, until the round closes.

    Args:
        admission: judges the updates of this round.
        providers: is told of every provider's result and its verdict.
        limits: limits of the waiting time, and the number of updates that are needed.
        folder: an existing folder, for the updates that are admitted.
        on_outcome: is called after each outcome is judged, and before `providers` is told.
    """

    def __init__(
        self,
        admission: Admission,
        providers: Providers,
        limits: RoundLimits,
        folder: Path,
        on_outcome: Callable[[Outcome, Verdict], None],
    ) -> None:
        self._entries: dict[str, OutcomeEntry] = {}  # id of a job → its entry
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
        """Returns one entry for each outcome, in the order of arrival."""
        return tuple(self._entries.values())

    @property
    def updates(self) -> list[StoredUpdate]:
        """Returns the admitted updates, sorted by job id.

        A sum of floating-point numbers depends on their order, and the order of arrival is random.
        """
        return sorted((arrival.update for arrival in self._arrivals), key=lambda update: update.path)

    @property
    def loss(self) -> float:
        """Returns the mean training loss of the admitted updates, as the providers claim it; NaN if there are none."""
        losses = [arrival.entry.loss for arrival in self._arrivals if arrival.entry.loss is not None]
        return sum(losses) / len(losses) if losses else math.nan

    async def collect(self, backend: Backend, assignments: Sequence[Assignment]) -> None:
        """Runs all assignments, and judges the results, until the round closes.

        If results are refused, other providers get the same work, if more updates are needed and there is time.
        """
        tasks, waiting = len(assignments), list(assignments)
        for _ in range(ATTEMPTS):
            refused = await self._attempt(backend, waiting, tasks)
            enough_came = len(self._arrivals) >= self._limits.needed(tasks)
            if not refused or enough_came or self._elapsed() >= self._closes(tasks):
                break
            waiting = [replace(assignment, task=renamed_task(assignment.task)) for assignment in refused]
        self._look_again()
        # If not a single update helps, the providers of harmful ones are not blamed: the plan may not fit the photos,
        # or there are so many hostile providers that nobody can tell who is honest.
        if self._arrivals:
            for provider, verdict in self._harmful:
                self._providers.refused(provider, verdict)

    def _look_again(self) -> None:
        """Judges the admitted updates again, compared with all others, and removes those that fail."""
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
        """Runs the backend once; returns the assignments whose results were refused."""
        waiting = {assignment.task.job.job_id: assignment for assignment in assignments}
        refused = []
        outcomes = backend.run([a.task for a in assignments], self._limits.longest - self._elapsed())
        async with aclosing(items_until(outcomes, lambda: self._started + self._closes(tasks))) as arriving:
            async for outcome in arriving:
                assignment = waiting.pop(outcome.task.job.job_id, None)
                if assignment is None:
                    continue  # the outcome belongs to an earlier round
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
            return  # the backend counts failed attempts, because it sees all of them
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
            self._harmful.append((provider, verdict))  # `collect` decides about it at the end of the round
        else:
            self._providers.refused(provider, verdict)

    def _closes(self, tasks: int) -> float:
        return self._limits.closing_time(tasks, self._answered, self._admitted)

    def _elapsed(self) -> float:
        return time.monotonic() - self._started
