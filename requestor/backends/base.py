"""The seam between the pipeline and whoever computes: run tasks before a deadline → outcomes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Protocol

from nima.wire import Job, JobResult
from requestor.records import Receipt


@dataclass(frozen=True)
class Provider:
    """Who computed: the node id on Golem, or the number of the local subprocess."""

    id: str
    name: str


@dataclass(frozen=True)
class Task:
    """One job for one provider, and the files it needs.

    Attributes:
        job: what to do; `store` and `threads` are filled in by the backend, who knows the provider.
        store: content-addressed files (`<sha256>.safetensors`) that the job names; sent once to each provider.
        weights: the round's weights, put beside the job; None where the base model is all it needs.
        seconds: time limit of one attempt, transfers included.
        largest_output: bytes that the job's output file may have.
    """

    job: Job
    store: tuple[Path, ...]
    weights: Path | None
    seconds: float
    largest_output: int


def renamed_task(task: Task) -> Task:
    """The same work under another name, so that nothing late of an earlier attempt can be taken for it."""
    return replace(task, job=replace(task.job, job_id=f"{task.job.job_id}-again"))


@dataclass(frozen=True)
class Outcome:
    """How a task ended. `result` and `output` are unchecked claims of a provider.

    Attributes:
        provider: who did it; None if nobody took it in time.
        output: the file that came back, on this machine; None where there is none.
        error: why there is no result; None if there is one.
        seconds: wall time from issuing the attempt to its end.
        cost: GLM that the provider's usage came to since its last outcome, waiting included; None where nobody is paid
            or the daemon does not say.
    """

    task: Task
    provider: Provider | None
    result: JobResult | None = None
    output: Path | None = None
    error: str | None = None
    seconds: float = 0.0
    cost: Decimal | None = None


@dataclass
class BackendStatus:
    """What is known of a backend at work.

    Attributes:
        providers: names of those that are hired.
        spent: GLM.
        at_work: who took which job and has neither ended it nor given it back, after its round is over, too.
    """

    providers: set[str] = field(default_factory=set)
    spent: Decimal = Decimal(0)
    at_work: Mapping[str, Provider] = field(default_factory=dict)


class Backend(Protocol):
    """Providers that stay warm from `__aenter__` to `__aexit__`, over all rounds."""

    name: str

    async def __aenter__(self) -> Backend: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def run(self, tasks: Sequence[Task], seconds: float) -> AsyncIterator[Outcome]:
        """Run all tasks; yields exactly one outcome a task, as they end, within `seconds` from now.

        Raises ImageMismatch where providers run another version of this program.
        """
        ...

    async def settle(self) -> None:
        """End and pay what an earlier process of the same run left behind, without hiring anybody; not entered."""
        ...

    def dismiss(self, provider_id: str) -> None:
        """Give a provider no more tasks: what it brought was no good."""
        ...

    def reject(self, job_id: str, reason: str) -> None:
        """What a job brought is worth nothing. Who brought nothing else under the same agreement is not paid for it."""
        ...

    def status(self) -> BackendStatus: ...

    def receipts(self) -> list[Receipt]:
        """Who did what, and what each is paid; complete only after `__aexit__`."""
        ...
