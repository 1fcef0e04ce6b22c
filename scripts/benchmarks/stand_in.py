"""Stands in for a backend in benchmarks: nobody is hired, paid or put out. A subclass says how tasks are computed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import TypeVar

from requestor.backends import Backend, Outcome, Task
from requestor.backends.base import BackendStatus
from requestor.records import Receipt

T = TypeVar("T", bound="StandIn")


class StandIn(Backend):
    """Does nothing in those methods of a backend that a benchmark does not need."""

    name = "simulated"

    async def __aenter__(self: T) -> T:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def run(self, tasks: Sequence[Task], seconds: float) -> AsyncIterator[Outcome]:
        raise NotImplementedError

    async def settle(self) -> None:
        return None

    def dismiss(self, provider_id: str) -> None:
        return None

    def reject(self, job_id: str, reason: str) -> None:
        return None

    def status(self) -> BackendStatus:
        return BackendStatus()

    def receipts(self) -> list[Receipt]:
        return []
