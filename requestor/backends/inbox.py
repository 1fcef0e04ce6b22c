"""Takes the files that providers send: each has a limit of its own, and none stays if the answer is refused."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nima.wire import MAX_RESULT_BYTES, RESULT_FILE, JobError, JobResult, VersionMismatch, state_file
from requestor.backends.base import Task
from requestor.golem.gftp import folder_for_files_of

_SUFFIX = ".safetensors"
_OUTPUT = f"output{_SUFFIX}"


class Junk(Exception):
    """A provider's result or reported cost breaks the rules, as this program on a provider never does."""


class NoResult(Exception):
    """A provider's file is missing, although the transfer was reported to be done."""


@dataclass(frozen=True)
class Inbox:
    """Holds a folder for each attempt, and the output and the states of each task that has succeeded.

    folder: an existing folder, which holds nothing else.
    """

    folder: Path

    def expect(self, task: Task) -> None:
        """Makes the folder for an attempt at a task; files of an earlier attempt are deleted."""
        self.clear(task)
        for path in (self.result_file(task), self.output_file(task)):
            path.parent.mkdir(parents=True, exist_ok=True)

    def result_file(self, task: Task) -> Path:
        """Returns the path for the result of an attempt."""
        return folder_for_files_of(MAX_RESULT_BYTES, self._attempt(task)) / RESULT_FILE

    def output_file(self, task: Task) -> Path:
        """Returns the path for the output of an attempt."""
        return folder_for_files_of(task.largest_output, self._attempt(task)) / _OUTPUT

    def take(self, task: Task) -> tuple[JobResult, Path | None]:
        """Reads the result of an attempt, keeps its output, and deletes all else that came.

        Returns:
            The result, and the path of the output; the path is None if there is no output.

        Raises:
            Junk: the result is malformed, or a file is larger than allowed. Then, and after the other errors, the files
                are still there: call `clear`.
            VersionMismatch: the result is of another version.
            JobError: the program reports that it failed, with its reason.
            NoResult: no result came.
            OSError: a file cannot be read on this machine.
        """
        result_file, output = self.result_file(task), self.output_file(task)
        if not result_file.exists():
            raise NoResult("no result came")
        _check_size("result.json", result_file, MAX_RESULT_BYTES)
        try:
            result = JobResult.from_json(result_file.read_text(encoding="utf-8", errors="replace"))
        except VersionMismatch:
            raise
        except JobError as error:
            raise Junk(str(error)) from error
        if not result.ok:
            raise JobError(result.error or "the provider program failed without saying why")
        kept = None
        if output.exists():
            _check_size("the output", output, task.largest_output)
            kept = self._kept(task)
            os.replace(output, kept)
        shutil.rmtree(self._attempt(task), ignore_errors=True)
        return result, kept

    def expect_state(self, task: Task, number: int) -> Path:
        """Makes the folder for a state of a training, for which its task asks, and returns the path for it."""
        assert task.evidence is not None
        folder = folder_for_files_of(task.evidence.largest, self._attempt(task))
        folder.mkdir(parents=True, exist_ok=True)
        return folder / state_file(number)

    def take_states(self, task: Task, numbers: Sequence[int]) -> dict[int, Path]:
        """Keeps the states of a training that have come, after `take`; returns their paths by their numbers.

        Raises Junk if a file is larger than allowed, and NoResult if one did not come.
        """
        states: dict[int, Path] = {}
        for number in numbers:
            arrived = self.expect_state(task, number)
            if not arrived.exists():
                raise NoResult(f"state {number} of its training did not come")
            assert task.evidence is not None
            _check_size(f"state {number}", arrived, task.evidence.largest)
            states[number] = self.folder / f"{task.job.job_id}.{state_file(number)}"
            os.replace(arrived, states[number])
        shutil.rmtree(self._attempt(task), ignore_errors=True)
        return states

    def clear(self, task: Task) -> None:
        """Deletes all files of a task, those that are still arriving, too."""
        shutil.rmtree(self._attempt(task), ignore_errors=True)
        for path in (self._kept(task), *self.folder.glob(f"{task.job.job_id}.state-*{_SUFFIX}")):
            path.unlink(missing_ok=True)

    def empty(self) -> None:
        """Deletes the files of all tasks; an earlier process that was killed may have left some."""
        for path in self.folder.glob("*/"):
            shutil.rmtree(path, ignore_errors=True)
        for path in self.folder.glob(f"*{_SUFFIX}"):
            path.unlink()

    def _attempt(self, task: Task) -> Path:
        return self.folder / task.job.job_id

    def _kept(self, task: Task) -> Path:
        return self.folder / f"{task.job.job_id}{_SUFFIX}"


def _check_size(what: str, path: Path, largest: int) -> None:
    size = path.stat().st_size
    if size > largest:
        raise Junk(f"{what} has {size} bytes; at most {largest} are allowed")
