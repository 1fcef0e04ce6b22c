"""Runs the provider program in subprocesses on this machine, for development, simulation, and users without GLM."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from types import TracebackType

from nima.safe_io import one_line
from nima.wire import EXIT_VERSION_MISMATCH, OUTPUT_FILES, RESULT_FILE, JobError, JobResult, VersionMismatch, state_file
from requestor.backends.base import BackendStatus, Outcome, Provider, Task
from requestor.backends.board import Board, with_place
from requestor.backends.inbox import Inbox, Junk, NoResult
from requestor.records import Receipt

_MOST_STDERR = 1000  # bytes at the end of a program's stderr that are looked at


@dataclass
class Worker:
    """One simulated provider.

    provider: its id and name.
    folder: its folder, which holds its own store.
    held: names of the files in its store.
    tasks: number of tasks that it has finished.
    """

    provider: Provider
    folder: Path
    held: set[str] = field(default_factory=set)
    tasks: int = 0


class LocalBackend:
    """Runs every task as `python -m provider_image job.json`, as a provider would, with an empty environment.

    Args:
        workers: number of subprocesses at the same time; each gets an equal share of the machine's cores.
        inbox: existing folder for the files of results.
    """

    name = "local"

    def __init__(self, workers: int, inbox: Path) -> None:
        self._count = workers
        self._inbox = Inbox(inbox)
        self._threads = max(1, (os.cpu_count() or 1) // workers)
        self._board = Board()
        self._workers: list[Worker] = []
        self._running: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> LocalBackend:
        self._inbox.empty()
        self._folder = Path(tempfile.mkdtemp(prefix="nima-golem-local-"))
        for number in range(1, self._count + 1):
            worker = Worker(Provider(f"local-{number}", f"local-{number}"), self._folder / str(number))
            (worker.folder / "store").mkdir(parents=True)
            self._workers.append(worker)
            self._running.append(asyncio.create_task(self._work(worker)))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        shutil.rmtree(self._folder, ignore_errors=True)

    def run(self, tasks: Sequence[Task], seconds: float) -> AsyncIterator[Outcome]:
        return self._board.run(tasks, seconds)

    async def settle(self) -> None:
        """Does nothing, because nobody is paid here."""

    def dismiss(self, provider_id: str) -> None:
        self._board.dismiss(provider_id)

    def reject(self, job_id: str, reason: str) -> None:
        """Does nothing, because nobody is paid here."""

    def status(self) -> BackendStatus:
        return BackendStatus({worker.provider.name for worker in self._workers}, Decimal(0), self._board.at_work)

    def receipts(self) -> list[Receipt]:
        return [Receipt(w.provider.name, w.provider.id, 0, w.tasks, Decimal(0)) for w in self._workers]

    async def _work(self, worker: Worker) -> None:
        while task := await self._board.wait_for_task(worker.provider, worker.held):
            started = time.monotonic()
            try:
                result, output, states = await self._attempt(worker, task)
            except VersionMismatch as error:
                self._inbox.clear(task)
                self._board.refuse(task, worker.provider, str(error), time.monotonic() - started)
                continue
            except (JobError, NoResult, OSError, Junk, _AttemptFailed) as error:
                self._inbox.clear(task)
                self._board.fail(task, worker.provider, str(error), time.monotonic() - started)
                continue
            worker.tasks += 1
            seconds = time.monotonic() - started
            self._board.complete(Outcome(task, worker.provider, result, output, seconds=seconds, states=states))
        if all(self._board.is_banned(other.provider.id) for other in self._workers):
            self._board.abandon("every local worker has failed too often")

    async def _attempt(self, worker: Worker, task: Task) -> tuple[JobResult, Path | None, dict[int, Path]]:
        """Copies the files to the worker, runs the program, and moves the files that it wrote into the inbox."""
        for path in task.store:
            if path.name not in worker.held:
                _link_or_copy(path, worker.folder / "store" / path.name)
                worker.held.add(path.name)
        folder = worker.folder / "jobs" / task.job.job_id
        shutil.rmtree(folder, ignore_errors=True)  # an earlier attempt may have left it
        folder.mkdir(parents=True)
        job = with_place(task, str(worker.folder / "store"), self._threads).job
        (folder / "job.json").write_text(job.to_json())
        if task.weights is not None:
            shutil.copyfile(task.weights, folder / "weights.safetensors")
        try:
            code, stderr = await _run_program(
                [sys.executable, "-m", "provider_image", str(folder / "job.json")], task.seconds
            )
            if code == EXIT_VERSION_MISMATCH:
                raise VersionMismatch(stderr[-400:])
            if not (folder / RESULT_FILE).exists():
                raise _AttemptFailed(f"the provider program ended without a result: {stderr[-400:] or 'no message'}")
            self._inbox.expect(task)
            shutil.move(folder / RESULT_FILE, self._inbox.result_file(task))
            output = OUTPUT_FILES.get(task.job.kind)
            if output is not None and (folder / output).exists():
                shutil.move(folder / output, self._inbox.output_file(task))
            result, taken = self._inbox.take(task)
            numbers = task.evidence.choose(result) if task.evidence is not None else ()
            for number in numbers:
                shutil.move(folder / state_file(number), self._inbox.expect_state(task, number))
            return result, taken, self._inbox.take_states(task, numbers)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


class _AttemptFailed(Exception):
    pass


def _link_or_copy(source: Path, destination: Path) -> None:
    """Makes a hard link, which needs no disk space; copies the file if the paths are on two file systems."""
    try:
        os.link(source, destination)
    except OSError:
        shutil.copyfile(source, destination)


async def _run_program(argv: list[str], seconds: float) -> tuple[int | None, str]:
    """Runs a program to its end, and returns its exit code and stderr; kills it after `seconds`, or on cancellation.

    Raises `_AttemptFailed` if it did not end in time.
    """
    process = await asyncio.create_subprocess_exec(
        *argv, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        env={}, start_new_session=True,
    )  # fmt: skip
    try:
        _, stderr = await asyncio.wait_for(process.communicate(), seconds)
    except asyncio.TimeoutError:
        raise _AttemptFailed(f"the provider program did not end within {seconds:.0f} s") from None
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    return process.returncode, one_line(stderr[-_MOST_STDERR:].decode(errors="replace"))
