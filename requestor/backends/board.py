"""The board on which tasks wait for providers: who gets what, how often it is tried, and what came of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace

from requestor.backends.base import Outcome, Provider, Task
from requestor.errors import ImageMismatch

ATTEMPTS = 3  # of one task
STRIKES = 2  # failed tasks after which a provider is given no more
DESERTED_SECONDS = 120.0  # that pass without anybody at work, after some were out, until nobody is waited for any more
GLANCE_SECONDS = 5.0  # between two looks whether that is so
GATHERING_SECONDS = 30.0  # for which the first providers to come leave the others their share


class Board:
    """Tasks of the present round, pulled by providers one at a time.

    A provider is given a task that it has not failed before, if there is one, and of those the one whose files
    it already holds most of, so that each shard travels once. Every task of a round ends in exactly one outcome,
    at the latest at the round's deadline.

    Whose work is no good is decided elsewhere (`requestor.training.providers.standing`), and the board is told to
    dismiss it. What it counts itself is another thing: attempts that failed and brought nothing to be judged, of which
    it alone sees each.

    Args:
        crew: how many providers are expected. Until so many have come, or for a while, nobody takes a second task:
            the first to be hired would do the work of those who come seconds later.
        proven: whether the program that providers run is known to be of this version.
    """

    def __init__(self, crew: int = 1, proven: bool = False) -> None:
        self._crew = crew
        self._proven = proven
        self._mismatch: ImageMismatch | None = None
        self._seen: set[str] = set()
        self._gathering_until: float | None = None
        self._closed = False
        self._given_up: str | None = None
        self._pending: list[Task] = []
        self._running: dict[str, Task] = {}
        self.at_work: dict[str, Provider] = {}  # as in BackendStatus
        self._failed_by: dict[str, list[str]] = {}
        self._errors: dict[str, str] = {}
        self._strikes: dict[str, int] = {}
        self._dismissed: set[str] = set()
        self._busy_at = time.monotonic()
        self._outcomes: asyncio.Queue[Outcome | ImageMismatch] = asyncio.Queue()
        self._posted = asyncio.Event()

    def is_banned(self, provider_id: str) -> bool:
        """Whether a provider is given no more tasks: it was dismissed, or has failed too often."""
        return provider_id in self._dismissed or self._strikes.get(provider_id, 0) >= STRIKES

    def dismiss(self, provider_id: str) -> None:
        """A provider is given no more tasks, whatever it did so far."""
        self._dismissed.add(provider_id)
        self._notify()

    def take(self, provider: Provider, held: Iterable[str]) -> Task | None:
        """The task that suits this provider best, or None. `held`: names of the store files it has."""
        if self.is_banned(provider.id) or not self._pending or self._must_wait(provider):
            return None
        names = set(held)

        def suitability(task: Task) -> tuple[bool, int]:
            fresh = provider.id not in self._failed_by.get(task.job.job_id, ())
            return fresh, sum(path.name in names for path in task.store)

        task = max(self._pending, key=suitability)
        self._pending.remove(task)
        self._seen.add(provider.id)
        self._busy_at = time.monotonic()
        self._running[task.job.job_id] = task
        self.at_work[task.job.job_id] = provider
        return task

    async def wait_for_task(
        self, provider: Provider, held: Iterable[str], can_wait: Callable[[], bool] = lambda: True
    ) -> Task | None:
        """Like `take`, but waits until there is one.

        None once the provider is banned, the board closed, or waiting costs more than `can_wait` allows.
        """
        while not self._closed and not self.is_banned(provider.id) and can_wait():
            posted = self._posted
            if task := self.take(provider, held):
                return task
            # Looked at again from time to time, as the gathering ends without a notice.
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(posted.wait(), 1.0)
        return None

    def close(self) -> None:
        """No more tasks will come: everybody who waits may go."""
        self._closed = True
        self._notify()

    def _notify(self) -> None:
        """Wake all who wait; who comes later waits for the next notice."""
        self._posted.set()
        self._posted = asyncio.Event()

    def _must_wait(self, provider: Provider) -> bool:
        gathering = self._gathering_until is not None and time.monotonic() < self._gathering_until
        return gathering and provider.id in self._seen and len(self._seen) < self._crew

    def complete(self, outcome: Outcome) -> None:
        """A provider brought a result. Ignored where the round is over."""
        self._proven = True
        self.at_work.pop(outcome.task.job.job_id, None)
        if self._running.pop(outcome.task.job.job_id, None) is not None:
            self._outcomes.put_nowait(outcome)

    def give_back(self, task: Task) -> None:
        """The task was not started (no money, the worker was stopped): nobody's fault, next one please."""
        self.at_work.pop(task.job.job_id, None)
        if self._running.pop(task.job.job_id, None) is not None:
            self._pending.append(task)
            self._notify()

    def fail(self, task: Task, provider: Provider, error: str, seconds: float) -> None:
        """An attempt failed: another provider gets the task, until it has been tried often enough."""
        self._strikes[provider.id] = self._strikes.get(provider.id, 0) + 1
        self._notify()  # a banned provider's worker must learn of it
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
        """A provider's program says that it is of another version than this one: the run ends.

        All providers run the same image, so all would say so. Where one has shown that the image fits, it is a lie.
        """
        if self._proven:
            self.fail(task, provider, error, seconds)
            return
        self._mismatch = ImageMismatch(
            f"The provider image does not fit this program, says {provider.name}: {error} Choose an image of "
            "this version (NIMA_GOLEM_IMAGE), or install the version of the image. `nima-golem doctor` compares them."
        )
        self._outcomes.put_nowait(self._mismatch)
        self.close()

    def withdraw(self, reason: str) -> None:
        """No further task can be started: those that wait end now, those that run go on."""
        for task in self._pending:
            error = self._errors.get(task.job.job_id, reason)
            self._outcomes.put_nowait(Outcome(task, None, error=error))
        self._pending.clear()

    def abandon(self, reason: str) -> None:
        """There is no provider left and none will come: every open task ends now, and every later one at once."""
        self._given_up = reason
        self._pending.extend(self._running.values())
        self._running.clear()
        self.withdraw(reason)

    def _deserted(self) -> bool:
        """Whether all who came are out, and nobody has come for long. Before anybody came at all, it is waited on."""
        if self._running:
            self._busy_at = time.monotonic()
        out = any(map(self.is_banned, {*self._strikes, *self._dismissed}))
        return out and time.monotonic() - self._busy_at > DESERTED_SECONDS

    async def run(self, tasks: Sequence[Task], seconds: float) -> AsyncIterator[Outcome]:
        """Post the tasks; yield one outcome a task as they end; close the round after `seconds`.

        Raises ImageMismatch.
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
                        self.abandon("who came failed, and nobody else came")
                    continue
                if isinstance(outcome, ImageMismatch):
                    raise outcome
                if outcome.task.job.job_id not in left:
                    continue  # of a round that was closed while this one was on its way
                del left[outcome.task.job.job_id]
                yield outcome
            for job_id, task in left.items():
                reason = self._errors.get(job_id, "no provider finished it before the round's deadline")
                yield Outcome(task, self.at_work.get(job_id), error=reason, seconds=seconds)
        finally:
            self._pending.clear()
            self._running.clear()


def with_place(task: Task, store: str, threads: int) -> Task:
    """The task as one provider runs it: where its store lies, how many threads it may use."""
    return replace(task, job=replace(task.job, store=store, threads=threads))
