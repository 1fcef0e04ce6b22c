"""Simulates a backend for tests: one provider per task in this process, each with a behaviour that the test sets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from types import TracebackType

from requestor.backends.base import BackendStatus, Outcome, Provider, Task
from requestor.records.ledger import Receipt

Behaviour = Callable[[Task], Awaitable[Outcome]]


class SimulatedBackend:
    """Hands every task to `behave`.

    Unlike a real backend it keeps no deadline, so the code under test must.
    """

    name = "simulated"

    def __init__(self, behave: Behaviour) -> None:
        self._behave = behave
        self.tasks: list[Task] = []
        self.dismissed: list[str] = []
        self.rejected: list[str] = []
        self.at_work: dict[str, Provider] = {}

    async def __aenter__(self) -> SimulatedBackend:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    async def run(self, tasks: Sequence[Task], seconds: float) -> AsyncIterator[Outcome]:
        self.tasks += tasks
        running = [asyncio.ensure_future(self._behave(task)) for task in tasks]
        try:
            for ended in asyncio.as_completed(running):
                yield await ended
        finally:
            for one in running:
                one.cancel()

    async def settle(self) -> None:
        return None

    def dismiss(self, provider_id: str) -> None:
        self.dismissed.append(provider_id)

    def reject(self, job_id: str, reason: str) -> None:
        self.rejected.append(job_id)

    def status(self) -> BackendStatus:
        return BackendStatus(at_work=self.at_work)

    def receipts(self) -> list[Receipt]:
        return []
