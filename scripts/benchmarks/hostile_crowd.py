"""Runs honest and hostile providers in one process, so that a training takes seconds.

Each provider does its work with the provider program, and misbehaves with a fault of the devnet.
"""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from stand_in import StandIn

from nima.wire import RESULT_FILE, UPDATE_FILE, WEIGHTS_FILE, Job, JobError, JobResult
from provider_image.work import perform
from requestor.backends import Outcome, Provider, Task
from requestor.devnet.faults import ProgramRun, make_fault

PROVIDERS = 8
SILENT = "silent"
STORE, JOBS = "/golem/store", "/golem/jobs"  # the paths that a provider's program sees


class Crowd(StandIn):
    """Runs providers in this process, each with its fault or none; in a round, all of them work at the same time.

    store: the folder with the files that the jobs name. folder: the providers' own files. faults: kinds by the
    provider's number; `SILENT` sends nothing.
    """

    def __init__(self, store: Path, folder: Path, faults: Mapping[int, str]) -> None:
        self._store = store
        self._dismissed: set[int] = set()
        self._silent = {number for number, kind in faults.items() if kind == SILENT}
        self._folders = [folder / f"provider-{number}" for number in range(PROVIDERS)]
        self._outbox = folder / "sent"
        self._outbox.mkdir(parents=True)
        for one in self._folders:
            (one / "activities").mkdir(parents=True)  # a fault that copies other providers' work looks there
        self._faults = [
            make_fault("" if number in self._silent else faults.get(number, ""), one)
            for number, one in enumerate(self._folders)
        ]
        self._one_at_a_time = asyncio.Lock()  # torch's random numbers are shared by the whole process

    async def run(self, tasks: Sequence[Task], seconds: float) -> AsyncIterator[Outcome]:
        for ended in asyncio.as_completed([self._attempts(task) for task in tasks]):
            yield await ended

    def dismiss(self, provider_id: str) -> None:
        self._dismissed.add(int(provider_id))

    async def _attempts(self, task: Task) -> Outcome:
        """Gives every client's work to its own provider, and to the next one if that provider fails or is banned."""
        match task.job.job_id.split("-"):
            case ["embed", index, earlier]:
                first = int(index) + int(earlier)
            case [_, _, _, index, *again]:
                first = int(index) + len(again)
        order = [(first + ahead) % PROVIDERS for ahead in range(PROVIDERS)]
        willing = [one for one in order if one not in self._dismissed]
        outcome = Outcome(task, None, error="nobody is left")
        for one in willing[:2]:  # as many attempts as a backend makes
            outcome = await self._work(task, one)
            if outcome.error is None:
                break
        return outcome

    async def _work(self, task: Task, number: int) -> Outcome:
        provider = Provider(str(number), f"provider-{number}")
        if number in self._silent:
            return Outcome(task, provider, error="it did not answer in time")
        folder = self._folders[number] / "activities" / task.job.job_id
        folder.mkdir(exist_ok=True)
        job_file = folder / "job.json"
        job_file.write_text(replace(task.job, store=STORE).to_json())
        if task.weights is not None:
            shutil.copyfile(task.weights, folder / WEIGHTS_FILE)
        work = ProgramRun(
            ["python", "-m", "provider_image", f"{JOBS}/job.json"], {STORE: self._store, JOBS: folder}
        )  # fmt: skip

        def execute_here() -> int:
            job = Job.from_json(job_file.read_text())
            result = perform_once(replace(job, store=str(self._store), threads=1), folder)
            (folder / RESULT_FILE).write_text(result.to_json())
            return 0

        async def execute() -> int:
            async with self._one_at_a_time:
                return await asyncio.to_thread(execute_here)

        await self._faults[number].run(work, execute)
        try:
            result = JobResult.from_json((folder / RESULT_FILE).read_text(errors="replace"))
        except JobError as error:
            return Outcome(task, provider, error=str(error))
        made = folder / (result.output or UPDATE_FILE)
        if made.stat().st_size > task.largest_output:
            made.unlink()
            return Outcome(task, provider, error="its output is larger than it can be")
        kept = self._outbox / f"{number}-{task.job.job_id}"
        shutil.copyfile(made, kept)
        return Outcome(task, provider, result, kept, seconds=result.seconds + 1)


def perform_once(job: Job, folder: Path) -> JobResult:
    """Returns the provider program's result of a job, and writes its output to `folder`.

    If another training had an equal job, its result is used again.
    """
    key = hashlib.sha256(replace(job, job_id="any").to_json().encode()).hexdigest()
    known = Path(job.store).with_name("known") / key
    if not known.exists():
        result = perform(job, folder)
        assert result.output is not None
        draft = Path(tempfile.mkdtemp(dir=known.parent))
        shutil.copyfile(folder / result.output, draft / result.output)
        (draft / RESULT_FILE).write_text(result.to_json())
        with suppress(OSError):  # another process wrote it first
            draft.rename(known)
    result = replace(JobResult.from_json((known / RESULT_FILE).read_text()), job_id=job.job_id)
    assert result.output is not None
    shutil.copyfile(known / result.output, folder / result.output)
    return result
