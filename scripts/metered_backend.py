"""A backend that counts what passes through it, for benchmarks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from types import TracebackType

from requestor.backends.base import Backend, BackendStatus, Outcome, Task
from requestor.ledger import Receipt


class MeteredBackend(Backend):
    """Wraps another one, all of whose tasks must succeed.

    Attributes:
        sent, received: bytes, as they would travel: a file of the store goes to each provider once.
        attempts: seconds of all attempts, transfers included; work: those that providers say that they computed.
    """

    name = "metered"

    def __init__(self, inner: Backend) -> None:
        self._inner = inner
        self._held: dict[str, set[str]] = {}
        self.sent = self.received = 0
        self.attempts = self.work = 0.0

    async def __aenter__(self) -> MeteredBackend:
        await self._inner.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._inner.__aexit__(kind, error, trace)

    async def run(self, tasks: Sequence[Task], seconds: float) -> AsyncIterator[Outcome]:
        async for outcome in self._inner.run(tasks, seconds):
            assert outcome.provider is not None, outcome.error
            assert outcome.result is not None, outcome.error
            held = self._held.setdefault(outcome.provider.id, set())
            files = [path for path in outcome.task.store if path.name not in held]
            held.update(path.name for path in files)
            self.sent += sum(path.stat().st_size for path in [*files, *filter(None, [outcome.task.weights])])
            self.received += outcome.output.stat().st_size if outcome.output else 0
            self.attempts += outcome.seconds
            self.work += outcome.result.seconds
            yield outcome

    def dismiss(self, provider_id: str) -> None:
        self._inner.dismiss(provider_id)

    def status(self) -> BackendStatus:
        return self._inner.status()

    def receipts(self) -> list[Receipt]:
        return self._inner.receipts()
