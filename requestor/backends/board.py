"""Gives the tasks of a round to providers, tries failed ones again, and yields the outcomes."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace

from requestor.backends.base import Outcome, Provider, Task
from requestor.errors import ImageMismatch
from requestor.planning import upload_seconds

ATTEMPTS = 3  # number of failed attempts at one task after which the task has failed
MISHAPS = 6  # number of attempts at one task that this machine or its daemon failed after which it has failed, too
CLAIMS = 2  # number of providers that must say that the image does not fit, before this is believed
STRIKES = 2  # number of failed tasks after which a provider is given no more tasks
TASKS_A_STRIKE = 5  # number of tasks with a result that outweigh another failed one
DESERTED_SECONDS = 120.0  # a round ends if nobody has worked for this time and at least one provider is banned
GLANCE_SECONDS = 5.0  # time between two checks whether this is so
SHORTEST_STAY = 60.0  # seconds before the end of its agreement at which a provider is not kept waiting any more
GATHERING_SECONDS = 30.0  # time in which no provider takes a second task if others are still expected


class Board:
    """Holds the tasks of the present round, which providers take one at a time.

    If possible, a provider gets a task that it has not failed before; among these, it gets the one of which it already
    holds the most files, so that each shard is sent only once; and among these, one of the client whose tasks it had
    before, so that it later holds all shards of this client. Every task of a round ends in exactly one outcome, at
    the latest at the round's deadline.

    `requestor.training.providers.standing` decides which provider's results are bad, and tells the board to dismiss
    the provider. The board itself counts only attempts that failed without a result, because nothing else sees all of
    them.

    Args:
        crew: the expected number of providers. Until so many have come, but not longer than `GATHERING_SECONDS`, no
            provider takes a second task: otherwise the first ones would do the work of those that come seconds later.
        proven: True if the program that providers run is known to be of this version.

    Attributes:
        at_work: the provider of each job, as in `BackendStatus`.
    """

    def __init__(self, crew: int = 1, proven: bool = False) -> None:
        self._crew = crew
        self._proven = proven
        self._mismatch: ImageMismatch | None = None
        self._claims: dict[str, str] = {}  # id → name of each provider whose program says that it is of another version
        self._seen: set[str] = set()
        self._client_of: dict[str, int] = {}  # id of a provider → client of the last task that it took
        self._gathering_until: float | None = None
        self._closed = False
        self._given_up: str | None = None
        self._pending: list[Task] = []
        self._running: dict[str, Task] = {}
        self.at_work: dict[str, Provider] = {}
        self._failed_by: dict[str, list[str]] = {}
        self._mishaps: dict[str, int] = {}
        self._errors: dict[str, str] = {}
        self._strikes: dict[str, int] = {}
        self._completed: dict[str, int] = {}  # id of a provider → number of its tasks with a result
        self._dismissed: set[str] = set()
        self._busy_at = time.monotonic()
        self._outcomes: asyncio.Queue[Outcome | ImageMismatch] = asyncio.Queue()
        self._posted = asyncio.Event()

    def is_banned(self, provider_id: str) -> bool:
        """Returns True if a provider is given no more tasks, because it was dismissed or has failed too often."""
        allowed = STRIKES + self._completed.get(provider_id, 0) // TASKS_A_STRIKE
        return provider_id in self._dismissed or self._strikes.get(provider_id, 0) >= allowed

    def dismiss(self, provider_id: str) -> None:
        """Gives a provider no more tasks."""
        self._dismissed.add(provider_id)
        self._notify()

    @property
    def closed(self) -> bool:
        """Returns True if no more tasks will come."""
        return self._closed

    def take(self, provider: Provider, held: Iterable[str], seconds_left: float = math.inf) -> Task | None:
        """Takes the task that suits a provider best; returns None if there is none for it.

        Args:
            provider: the provider.
            held: names of the store files that the provider has already.
            seconds_left: seconds for which the provider can work; tasks that may take longer are left to others.
        """
        names = set(held)
        pending = [task for task in self._pending if _longest_attempt(task, names) <= seconds_left]
        if self.is_banned(provider.id) or not pending or self._must_wait(provider):
            return None

        def suitability(task: Task) -> tuple[bool, int, int]:
            fresh = provider.id not in self._failed_by.get(task.job.job_id, ())
            return fresh, sum(path.name in names for path in task.store), self._nearness(provider, task.client)

        task = max(pending, key=suitability)
        self._pending.remove(task)
        self._seen.add(provider.id)
        if task.client is not None:
            self._client_of[provider.id] = task.client
        self._busy_at = time.monotonic()
        self._running[task.job.job_id] = task
        self.at_work[task.job.job_id] = provider
        return task

    def _nearness(self, provider: Provider, client: int | None) -> int:
        """Returns 1 if the provider works for a client, -1 if only others do, and 0 if nobody does."""
        if client is None or client not in self._client_of.values():
            return 0
        return 1 if self._client_of.get(provider.id) == client else -1

    async def wait_for_task(
        self,
        provider: Provider,
        held: Iterable[str],
        can_wait: Callable[[], bool] = lambda: True,
        seconds_left: Callable[[], float] = lambda: math.inf,
    ) -> Task | None:
        """Takes a task as `take` does, but waits until there is one.

        Returns None as soon as the provider is banned, the board is closed, `can_wait` returns False, or the time that
        the provider has is too short for any of the tasks.

        Args:
            provider, held: as for `take`.
            can_wait: returns True if the provider may wait any longer.
            seconds_left: returns the seconds for which the provider can work.
        """
        while not self._closed and not self.is_banned(provider.id) and can_wait():
            posted, left = self._posted, seconds_left()
            if task := self.take(provider, held, left):
                return task
            names = set(held)
            if left < min((_longest_attempt(task, names) for task in self._pending), default=SHORTEST_STAY):
                return None
            # Look again from time to time, because nothing is notified when `GATHERING_SECONDS` are over.
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(posted.wait(), 1.0)
        return None

    def close(self) -> None:
        """Ends all waiting, because no more tasks will come."""
        self._closed = True
        self._notify()

    def _notify(self) -> None:
        """Wakes all providers that wait; those that come later wait for the next call."""
        self._posted.set()
        self._posted = asyncio.Event()

    def _must_wait(self, provider: Provider) -> bool:
        gathering = self._gathering_until is not None and time.monotonic() < self._gathering_until
        return gathering and provider.id in self._seen and len(self._seen) < self._crew

    def complete(self, outcome: Outcome) -> None:
        """Ends a task with the result of a provider; if the round is over, ignores the result and deletes its file."""
        self._proven = True
        if (provider := outcome.provider) is not None:
            self._completed[provider.id] = self._completed.get(provider.id, 0) + 1
        self.at_work.pop(outcome.task.job.job_id, None)
        if self._running.pop(outcome.task.job.job_id, None) is not None:
            self._outcomes.put_nowait(outcome)
        else:
            _forget(outcome)

    def give_back(self, task: Task, reason: str | None = None) -> None:
        """Offers a task again that was not done, and blames nobody.

        Args:
            task: the task.
            reason: the failure of this machine for which it was not done, which ends the task when it has happened
                `MISHAPS` times; None if it was not done for lack of money, or because its worker was stopped.
        """
        job_id = task.job.job_id
        self.at_work.pop(job_id, None)
        if self._running.pop(job_id, None) is None:
            return
        if reason is not None:
            self._errors.setdefault(job_id, reason)
            self._mishaps[job_id] = self._mishaps.get(job_id, 0) + 1
        if self._mishaps.get(job_id, 0) >= MISHAPS:
            self._outcomes.put_nowait(Outcome(task, None, error=self._errors[job_id]))
        else:
            self._pending.append(task)
            self._notify()

    def fail(self, task: Task, provider: Provider, error: str, seconds: float) -> None:
        """Records a failed attempt; another provider gets the task, until `ATTEMPTS` have failed."""
        self._strikes[provider.id] = self._strikes.get(provider.id, 0) + 1
        self._notify()  # if the provider is banned now, its worker must stop waiting
        job_id = task.job.job_id
        self.at_work.pop(job_id, None)
        if self._running.pop(job_id, None) is None:
            return
        self._errors[job_id] = error
        failed_by = self._failed_by.setdefault(job_id, [])
        failed_by.append(provider.id)
        if len(failed_by) >= ATTEMPTS:
            self._outcomes.put_nowait(Outcome(task, provider, error=error, seconds=seconds))
        else:
            self._pending.append(task)

    def refuse(self, task: Task, provider: Provider, error: str, seconds: float) -> None:
        """Ends the run if enough providers say that their program is of another version than this one.

        All providers run the same image, so all would say so. One that says it alone may lie, and would end the run for
        all: its claim counts as a failed attempt, until a second provider says the same. If the image is known to be of
        this version, for example because a provider has sent a result, every claim is a failed attempt.
        """
        self._claims[provider.id] = provider.name
        if self._proven or len(self._claims) < min(CLAIMS, self._crew):
            self.fail(task, provider, error, seconds)
            return
        self._end_by_mismatch(error)

    def _end_by_mismatch(self, error: str) -> None:
        names = " and ".join(list(self._claims.values())[-CLAIMS:])
        self._mismatch = ImageMismatch(
            f"The provider image does not fit this program, by the word of {names}: {error} Choose an image of "
            "this version (NIMA_GOLEM_IMAGE), or install the version of the image. `nima-golem doctor` compares them."
        )
        self._outcomes.put_nowait(self._mismatch)
        self.close()

    def withdraw(self, reason: str) -> None:
        """Ends all waiting tasks, because no further task can be started; running tasks go on."""
        for task in self._pending:
            error = self._errors.get(task.job.job_id, reason)
            self._outcomes.put_nowait(Outcome(task, None, error=error))
        self._pending.clear()

    def abandon(self, reason: str) -> None:
        """Ends all open tasks, and every later one at once, because no provider is left and none will come."""
        self._given_up = reason
        if self._claims and not self._proven:  # nobody is left who says anything else
            self._end_by_mismatch(next(reversed(self._errors.values()), reason))
        self._pending.extend(self._running.values())
        self._running.clear()
        self.withdraw(reason)

    def _deserted(self) -> bool:
        """Returns True if a provider is banned and nobody has worked for `DESERTED_SECONDS`.

        If no provider is banned, the round goes on waiting for providers to come.
        """
        if self._running:
            self._busy_at = time.monotonic()
        out = any(map(self.is_banned, {*self._strikes, *self._dismissed}))
        return out and time.monotonic() - self._busy_at > DESERTED_SECONDS

    async def run(self, tasks: Sequence[Task], seconds: float) -> AsyncIterator[Outcome]:
        """Offers the tasks, yields one outcome for each when it ends, and closes the round after `seconds`.

        Raises ImageMismatch if the providers run another version of this program.
        """
        if self._mismatch is not None:
            raise self._mismatch
        self._busy_at = time.monotonic()
        deadline = self._busy_at + seconds
        left = {task.job.job_id: task for task in tasks}
        self._pending.extend(tasks)
        if self._given_up is not None:
            self.withdraw(self._given_up)
        if self._gathering_until is None:
            self._gathering_until = time.monotonic() + GATHERING_SECONDS
        self._notify()
        try:
            while left:
                remaining = deadline - time.monotonic()
                try:
                    outcome = await asyncio.wait_for(self._outcomes.get(), min(GLANCE_SECONDS, max(0.0, remaining)))
                except asyncio.TimeoutError:
                    if remaining <= 0:
                        break
                    if self._deserted():
                        self.abandon("providers failed or were dismissed, and no other came")
                    continue
                if isinstance(outcome, ImageMismatch):
                    raise outcome
                if outcome.task.job.job_id not in left:
                    _forget(outcome)  # it belongs to an earlier round, which is closed
                    continue
                del left[outcome.task.job.job_id]
                yield outcome
            for job_id, task in left.items():
                reason = self._errors.get(job_id, "no provider finished it before the round's deadline")
                yield Outcome(task, self.at_work.get(job_id), error=reason, seconds=seconds)
        finally:
            self._pending.clear()
            self._running.clear()


def _forget(outcome: Outcome) -> None:
    if outcome.output is not None:
        outcome.output.unlink(missing_ok=True)


def _longest_attempt(task: Task, held: Collection[str]) -> float:
    """Returns the most seconds that an attempt at a task takes, with the files that the provider does not hold."""
    return task.seconds + upload_seconds(task.bytes_without(held))


def with_place(task: Task, store: str, threads: int) -> Task:
    """Returns the task for one provider: with the path of its store, and the number of threads that it may use."""
    return replace(task, job=replace(task.job, store=store, threads=threads))
