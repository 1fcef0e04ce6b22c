"""Defines the interface between a run and the providers: a backend runs tasks before a deadline and yields outcomes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Protocol

from nima.wire import Job, JobResult
from requestor.planning import bytes_of
from requestor.records import Receipt


@dataclass(frozen=True)
class Provider:
    """A provider.

    id: its node id on Golem, or the name of a local worker.
    name: its name for people, which it has chosen itself.
    """

    id: str
    name: str


@dataclass(frozen=True)
class Evidence:
    """Tells which states of a training are fetched beside its update.

    choose: returns the numbers of these states, from 1; it is called when the result has come, so that a provider has
        named all states before anybody knows which are asked for.
    largest: the most bytes that the file of a state may have.
    """

    choose: Callable[[JobResult], Sequence[int]]
    largest: int


@dataclass(frozen=True)
class Task:
    """One job for one provider, and the files that it needs.

    Attributes:
        job: the work; the backend fills in `store` and `threads`, because it knows the provider.
        store: paths of the content-addressed files (`<sha256>.safetensors`) that the job names; each is sent once to
            each provider.
        weights: path of the file with the round's weights, which is put beside the job; None if the job needs only the
            base model.
        seconds: time limit of the program in one attempt, its start and the transfer of its results included. Files
            that are sent to the provider before have limits of their own.
        largest_output: the most bytes that the job's output file may have.
        usual_seconds: the time in which a usual provider ends, with some reserve. The task is not begun if the budget
            does not cover this time.
        client: number of the client whose photos the task is about; None if it is nobody's.
        evidence: tells which states of a training are fetched, too; None for none.
    """

    job: Job
    store: tuple[Path, ...]
    weights: Path | None
    seconds: float
    largest_output: int
    usual_seconds: float = 60.0
    client: int | None = None
    evidence: Evidence | None = None

    @cached_property
    def _sizes(self) -> dict[str, int]:
        return {path.name: bytes_of([path]) for path in self.store}

    def bytes_without(self, held: Collection[str] = ()) -> int:
        """Returns the bytes that are sent to a provider for the task.

        Args:
            held: names of the store files that the provider has already.
        """
        weights = 0 if self.weights is None else bytes_of([self.weights])
        return weights + sum(size for name, size in self._sizes.items() if name not in held)


def renamed_task(task: Task) -> Task:
    """Returns the task under another job id, so that a late result of the first job is not taken for the second's."""
    return replace(task, job=replace(task.job, job_id=f"{task.job.job_id}-again"))


@dataclass(frozen=True)
class Outcome:
    """Tells how a task ended. `result` and `output` are claims of a provider, which nobody has checked yet.

    Attributes:
        task: the task.
        provider: the provider that did the task; None if no provider took it in time.
        result: the provider's result; None if there is none.
        output: path of the output file on this machine; None if there is none.
        states: paths of the states of a training for which its task asked, by their numbers.
        error: the reason why there is no result; None if there is one.
        seconds: wall time of the attempt, without the start of the image and the files that were sent before.
        cost: GLM for the provider's usage since its last outcome, waiting included; None if nobody is paid, or if the
            cost is not known.
    """

    task: Task
    provider: Provider | None
    result: JobResult | None = None
    output: Path | None = None
    error: str | None = None
    seconds: float = 0.0
    cost: Decimal | None = None
    states: Mapping[int, Path] = field(default_factory=dict)

    def discard(self) -> None:
        """Deletes the output and the states."""
        for path in (self.output, *self.states.values()):
            if path is not None:
                path.unlink(missing_ok=True)


@dataclass
class BackendStatus:
    """Describes a backend while it works.

    Attributes:
        providers: names of the hired providers.
        spent: GLM that are owed or paid so far.
        at_work: the provider that works on each job, by job id. A job stays here until its attempt has ended or was
            given back, even if the round is over.
        absence: if no provider has come for a while: the offers on the market and why they are refused, as a text for
            people; otherwise empty.
    """

    providers: set[str] = field(default_factory=set)
    spent: Decimal = Decimal(0)
    at_work: Mapping[str, Provider] = field(default_factory=dict)
    absence: str = ""


class Backend(Protocol):
    """Has tasks computed by providers, which stay hired from `__aenter__` to `__aexit__`, over all rounds.

    name: name of the backend, "golem" or "local".
    """

    name: str

    async def __aenter__(self) -> Backend: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def run(self, tasks: Sequence[Task], seconds: float) -> AsyncIterator[Outcome]:
        """Runs all tasks, and yields exactly one outcome for each when it ends, at the latest after `seconds`.

        Raises ImageMismatch if the providers run another version of this program.
        """
        ...

    async def settle(self) -> None:
        """Ends the agreements that an earlier process of the same run left open, and pays their bills.

        It hires nobody, and needs no `__aenter__`.
        """
        ...

    def dismiss(self, provider_id: str) -> None:
        """Gives a provider no more tasks, because its results were refused."""
        ...

    def reject(self, job_id: str, reason: str) -> None:
        """Marks a job's result as worthless, with the reason. An agreement without any other result is not paid."""
        ...

    def status(self) -> BackendStatus:
        """Returns the present state of the backend."""
        ...

    def receipts(self) -> list[Receipt]:
        """Returns the work and the payment of each provider; they are complete only after `__aexit__`."""
        ...
