"""Collects a round's updates: reads each on arrival, reassigns what is refused by itself, and judges all at the end."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

from requestor.backends import Backend, Outcome, RoundLimits, items_until, renamed_task
from requestor.records import OutcomeEntry
from requestor.training.providers import Providers, Verdict, outcome_entry
from requestor.training.rounds.admission import Admission, Candidate
from requestor.training.rounds.aggregation import StoredUpdate
from requestor.training.rounds.arrival import Arrival, kept_arrival
from requestor.training.rounds.assignment import Assignment

ATTEMPTS = 2  # attempts at a client's work in one round: after a refusal, another provider does it, if there is time


class Collection:
    """Collects and judges the updates of one round, until the round closes.

    Args:
        admission: judges the updates of this round.
        providers: is told of every provider's result and its verdict.
        limits: limits of the waiting time, and the number of updates that are needed.
        folder: an existing folder, for the updates that can be read; it may hold those of an earlier process.
        on_outcome: is called with each outcome and its verdict: at the end of the round if others have a say in it, and
            else on arrival; always before `providers` is told.
    """

    def __init__(
        self,
        admission: Admission,
        providers: Providers,
        limits: RoundLimits,
        folder: Path,
        on_outcome: Callable[[Outcome, Verdict], None],
    ) -> None:
        self._arrivals: list[Arrival] = []
        self._verdicts: dict[str, Verdict] = {}  # id of a job → the verdict, once it is final
        self._admission = admission
        self._providers = providers
        self._limits = limits
        self._folder = folder
        self._on_outcome = on_outcome
        self._started = time.monotonic()
        self._answered: list[float] = []
        self._admitted: list[float] = []

    @property
    def entries(self) -> tuple[OutcomeEntry, ...]:
        """Returns one entry for each outcome, in the order of arrival."""
        return tuple(
            outcome_entry(one.outcome, self._verdicts[one.job_id], one.assignment.samples, one.assignment.client)
            for one in self._arrivals
        )

    @property
    def updates(self) -> list[StoredUpdate]:
        """Returns the admitted updates, sorted by job id.

        A sum of floating-point numbers depends on their order, and the order of arrival is random.
        """
        admitted = [one.update for one in self._arrivals if self._verdicts[one.job_id].admitted]
        return sorted((update for update in admitted if update is not None), key=lambda update: update.path)

    @property
    def loss(self) -> float:
        """Returns the mean training loss of the admitted updates, as the providers claim it; NaN if there are none."""
        losses = sorted(entry.loss for entry in self.entries if entry.admitted and entry.loss is not None)
        return sum(losses) / len(losses) if losses else math.nan

    async def collect(self, backend: Backend, assignments: Sequence[Assignment]) -> None:
        """Runs all assignments until the round closes, and judges their results.

        If results are refused for what they are alone, also by the hold-out, other providers get the same work, if more
        updates are needed and there is time. What is only refused beside others is not done again. Nor is what an
        earlier process of the run has received already.
        """
        waiting = [one for one in assignments if not await asyncio.to_thread(self._take_kept, one)]
        kept, tasks = sum(one.verdict.admitted for one in self._arrivals), len(waiting)
        for _ in range(ATTEMPTS if waiting else 0):
            refused = await self._attempt(backend, waiting, tasks)
            enough_came = kept + len(self._admitted) >= self._limits.needed(len(assignments))
            if not refused or enough_came or self._elapsed() >= self._closes(tasks):
                break
            waiting = [replace(assignment, task=renamed_task(assignment.task)) for assignment in refused]
        await self._judge()

    def _take_kept(self, assignment: Assignment) -> bool:
        """Takes the update that an earlier process received for an assignment; returns False if there is none."""
        arrival = kept_arrival(self._folder, assignment, self._admission.size)
        if arrival is not None:
            self._arrivals.append(arrival)
        return arrival is not None

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
                arrival = await self._take(outcome, assignment)
                if not arrival.verdict.admitted and arrival.verdict.kind != "no update":
                    refused.append(assignment)
        for job_id, assignment in waiting.items():
            late = backend.status().at_work.get(job_id)
            await self._take(Outcome(assignment.task, late, error="the round closed before it came"), assignment)
        return refused

    async def _take(self, outcome: Outcome, assignment: Assignment) -> Arrival:
        arrived = self._elapsed()
        verdict, values = await asyncio.to_thread(self._admission.read, outcome, assignment.samples)
        outcome.discard()
        update = None
        if values is not None:
            update = StoredUpdate.write(self._folder / outcome.task.job.job_id, values, assignment.samples)
        if verdict.admitted:
            self._admitted.append(arrived)
        if verdict.kind != "no update":
            self._answered.append(arrived)
        arrival = Arrival(outcome, assignment, verdict, update)
        if update is not None:
            await asyncio.to_thread(arrival.keep)
        self._arrivals.append(arrival)
        if update is None and verdict.kind != "false":
            self._close(arrival, verdict)
        return arrival

    async def _judge(self) -> None:
        """Makes all verdicts final that were not final on arrival."""
        readable = [one for one in self._arrivals if one.update is not None]
        verdicts = await asyncio.to_thread(self._admission.judge, [_candidate(one) for one in readable])
        for arrival, verdict in zip(readable, verdicts, strict=True):
            self._close(arrival, verdict)
        for arrival in self._arrivals:
            if arrival.verdict.kind == "false":
                self._close(arrival, self._unless_confirmed(arrival))

    def _unless_confirmed(self, arrival: Arrival) -> Verdict:
        """Returns the verdict that an update is false, or a milder one if another provider's is the same to the digit.

        Two that did the same work with the same result prove each other right, or this machine computes wrongly: the
        result is not used, and held against neither.
        """
        confirmed = any(
            other.assignment.client == arrival.assignment.client
            and other.verdict.content == arrival.verdict.content
            and other.outcome.provider != arrival.outcome.provider
            for other in self._arrivals
        )
        if not confirmed:
            return arrival.verdict
        return replace(arrival.verdict, kind="outlier", reason=f"two providers agree, but {arrival.verdict.reason}")

    def _close(self, arrival: Arrival, verdict: Verdict) -> None:
        """Makes a verdict final, and tells those who must know."""
        self._verdicts[arrival.job_id] = verdict
        outcome, assignment = arrival.outcome, arrival.assignment
        self._on_outcome(outcome, verdict)
        # The backend counts the attempts without any result, because it sees all of them.
        if outcome.provider is None or verdict.kind == "no update":
            return
        if not verdict.admitted:
            self._providers.refused(outcome.provider, verdict)
            return
        self._providers.admitted(outcome.provider, assignment.client, assignment.samples, outcome.seconds, outcome.cost)

    def _closes(self, tasks: int) -> float:
        return self._limits.closing_time(tasks, self._answered, self._admitted)

    def _elapsed(self) -> float:
        return time.monotonic() - self._started


def _candidate(arrival: Arrival) -> Candidate:
    assert arrival.update is not None
    seconds = arrival.outcome.seconds
    speed = arrival.assignment.samples / seconds if seconds > 0 else math.inf
    return Candidate(arrival.outcome.task, arrival.verdict, arrival.update, speed)
