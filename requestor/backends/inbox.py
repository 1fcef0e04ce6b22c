"""What comes back from providers: its place on this machine, and sizes that are checked before anything is read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nima.wire import MAX_RESULT_BYTES, JobError, JobResult, VersionMismatch
from requestor.backends.base import Task


class Junk(Exception):
    """What came back, or what is asked for it, breaks the rules: no failure, and not this program's output either."""


@dataclass(frozen=True)
class Inbox:
    """`folder` exists. Each job has two files there: its result, and its output if its kind has one."""

    folder: Path

    def result_file(self, job_id: str) -> Path:
        return self.folder / f"{job_id}.result.json"

    def output_file(self, job_id: str) -> Path:
        return self.folder / f"{job_id}.safetensors"

    def take(self, task: Task) -> tuple[JobResult, Path | None]:
        """What came back for a task; the output is None where there is none.

        Raises Junk on a result that is none and on what is larger than it may be, VersionMismatch on the result of
        another version, JobError where the program says why it failed, OSError where no result came.
        """
        result_file, output = self.result_file(task.job.job_id), self.output_file(task.job.job_id)
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
        raise Junk(f"{what} has {size} bytes; at most {largest} are allowed.")
