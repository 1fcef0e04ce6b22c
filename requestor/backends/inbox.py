"""Takes the files that providers send: they lie at fixed paths, and are read only after their size was checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nima.wire import MAX_RESULT_BYTES, JobError, JobResult, VersionMismatch
from requestor.backends.base import Task


class Junk(Exception):
    """A provider's result or reported cost breaks the rules, as this program on a provider never does."""


class NoResult(Exception):
    """A provider's file is missing, although the transfer was reported to be done."""


@dataclass(frozen=True)
class Inbox:
    """A folder with up to two files for each job: its result, and its output if its kind has one.

    folder: an existing folder.
    """

    folder: Path

    def result_file(self, job_id: str) -> Path:
        """Returns the path for a job's result."""
        return self.folder / f"{job_id}.result.json"

    def output_file(self, job_id: str) -> Path:
        """Returns the path for a job's output."""
        return self.folder / f"{job_id}.safetensors"

    def take(self, task: Task) -> tuple[JobResult, Path | None]:
        """Reads the result of a task, and deletes its file.

        Returns:
            The result, and the path of the output; the path is None if there is no output.

        Raises:
            Junk: the result is malformed, or a file is larger than allowed.
            VersionMismatch: the result is of another version.
            JobError: the program reports that it failed, with its reason.
            NoResult: no result came.
            OSError: a file cannot be read on this machine.
        """
        result_file, output = self.result_file(task.job.job_id), self.output_file(task.job.job_id)
        if not result_file.exists():
            raise NoResult("no result came")
        _check_size("result.json", result_file, MAX_RESULT_BYTES)
        try:
            result = JobResult.from_json(result_file.read_text(encoding="utf-8", errors="replace"))
        except VersionMismatch:
            raise
        except JobError as error:
            raise Junk(str(error)) from error
        finally:
            result_file.unlink()
        if not result.ok:
            raise JobError(result.error or "the provider program failed without saying why")
        if not output.exists():
            return result, None
        _check_size("the output", output, task.largest_output)
        return result, output


def _check_size(what: str, path: Path, largest: int) -> None:
    size = path.stat().st_size
    if size > largest:
        path.unlink()
        raise Junk(f"{what} has {size} bytes; at most {largest} are allowed")
