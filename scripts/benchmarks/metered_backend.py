"""Counts the tasks and bytes of a backend, for benchmarks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from types import TracebackType

from requestor.backends import Backend, Outcome, Task
from requestor.backends.base import BackendStatus
from requestor.records import Receipt


@dataclass(frozen=True)
class Exchange:
    """Describes one task: its bytes and its seconds.

    sent, received: bytes to and from its provider. attempt: seconds of the attempt. work: working seconds that the
    provider reports.
    """

    provider: str
    job: str
    sent: int
    received: int
    attempt: float
    work: float


class MeteredBackend(Backend):
    """Wraps another backend, all of whose tasks must succeed, and counts.

    Attributes:
        exchanges: one for each task. A file of the store counts once for each provider, because it is sent once; jobs
            and results count, the framing of the service bus does not.
    """

    name = "metered"

    def __init__(self, inner: Backend) -> None:
        self._inner = inner
        self._held: dict[str, set[str]] = {}
        self.exchanges: list[Exchange] = []

    @property
    def sent(self) -> int:
        """Returns the bytes that were sent to all providers."""
        return sum(exchange.sent for exchange in self.exchanges)

    @property
    def received(self) -> int:
        """Returns the bytes that were received from all providers."""
        return sum(exchange.received for exchange in self.exchanges)

    async def __aenter__(self) -> MeteredBackend:
        await self._inner.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._inner.__aexit__(kind, error, trace)

    async def run(self, tasks: Sequence[Task], seconds: float) -> AsyncIterator[Outcome]:
        async for outcome in self._inner.run(tasks, seconds):
            self.exchanges.append(self._exchange(outcome))
            yield outcome

    def _exchange(self, outcome: Outcome) -> Exchange:
        assert outcome.provider is not None, outcome.error
        assert outcome.result is not None, outcome.error
        task, held = outcome.task, self._held.setdefault(outcome.provider.id, set())
        files = [path for path in task.store if path.name not in held]
        held.update(path.name for path in files)
        sent = sum(path.stat().st_size for path in [*files, *filter(None, [task.weights])])
        received = outcome.output.stat().st_size if outcome.output else 0
        return Exchange(
            provider=outcome.provider.name,
            job=task.job.job_id,
            sent=sent + len(task.job.to_json()),
            received=received + len(outcome.result.to_json()),
            attempt=outcome.seconds,
            work=outcome.result.seconds,
        )

    async def settle(self) -> None:
        await self._inner.settle()

    def dismiss(self, provider_id: str) -> None:
        self._inner.dismiss(provider_id)

    def reject(self, job_id: str, reason: str) -> None:
        self._inner.reject(job_id, reason)

    def status(self) -> BackendStatus:
        return self._inner.status()

    def receipts(self) -> list[Receipt]:
        return self._inner.receipts()
