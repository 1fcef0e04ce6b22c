"""Does one job and writes `result.json` beside it: `python -m provider_image /golem/jobs/<job_id>/job.json`.

The program must work without environment variables, network and home folder, in any working directory, and may write
only to the job's own folder and to the store. It always writes the result. Its exit code is 0 if the job succeeded,
`EXIT_VERSION_MISMATCH` if the job is for another version of this program, 2 if it is called wrongly, and else 1.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from nima.errors import NimaError
from nima.safe_io import one_line, read_bounded, write_atomically
from nima.wire import EXIT_VERSION_MISMATCH, PROTOCOL, RESULT_FILE, Job, JobResult, VersionMismatch

MAX_JOB_BYTES = 1024 * 1024


def main(arguments: list[str]) -> int:
    """Does the job whose absolute path is the only argument; returns the exit code."""
    if len(arguments) != 1 or not arguments[0].startswith("/"):
        print("usage: python -m provider_image /absolute/path/of/job.json", file=sys.stderr)
        return 2
    # Read when torch is loaded. A thread that waits for another would otherwise spin, in time that is paid for.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    path = Path(arguments[0])
    job, failed = None, 1
    try:
        job = read_job(path)
        # This imports torch, so it comes after the job is read: if torch is broken, the result must say so.
        from provider_image.work import perform

        result = perform(job, path.parent)
    except VersionMismatch as error:
        result, failed = failure(job, str(error)), EXIT_VERSION_MISMATCH
    except NimaError as error:
        result = failure(job, str(error))
    except Exception as error:  # any failure of a provider's machine must be reported in the result
        result = failure(job, f"The job failed unexpectedly with {type(error).__name__}: {error}")
    try:
        write_atomically(path.parent / RESULT_FILE, result.to_json().encode())
    except OSError as error:
        print(f"The result could not be written: {error.strerror or error}", file=sys.stderr)
        return 1
    if result.error is not None:
        print(result.error, file=sys.stderr)
    return 0 if result.ok else failed


def read_job(path: Path) -> Job:
    """Reads the job of a `job.json` of at most 1 MiB.

    Raises `FileError` if the file cannot be read, `JobError` if it is no valid job, and `VersionMismatch` if the job is
    for another version.
    """
    # Bytes that are not UTF-8 become replacement characters, which the parser or the checks refuse.
    return Job.from_json(read_bounded(path, MAX_JOB_BYTES).decode(errors="replace"))


def failure(job: Job | None, error: str) -> JobResult:
    """Makes the result of a job that failed; `job` is None if it could not be read."""
    return JobResult(
        protocol=PROTOCOL,
        job_id=job.job_id if job else "unknown",
        kind=job.kind if job else None,
        ok=False,
        error=one_line(error) or "unknown error",
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
