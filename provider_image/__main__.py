"""`python -m provider_image /golem/jobs/<job_id>/job.json`: does one job and writes `result.json` beside it.

It may count on nothing around it: no environment, any working directory, no network, no home, and no place to
write but the job's own folder. The result is written whatever happens; the exit code is 0 if the job
succeeded, and `EXIT_VERSION_MISMATCH` if it is one for another version of this program.
"""

from __future__ import annotations

import sys
from pathlib import Path

from nima.errors import NimaError
from nima.safe_io import one_line, read_bounded, write_atomically
from nima.wire import EXIT_VERSION_MISMATCH, PROTOCOL, RESULT_FILE, Job, JobResult, VersionMismatch

MAX_JOB_BYTES = 1024 * 1024


def main(arguments: list[str]) -> int:
    if len(arguments) != 1 or not arguments[0].startswith("/"):
        print("usage: python -m provider_image /absolute/path/of/job.json", file=sys.stderr)
        return 2
    path = Path(arguments[0])
    job, failed = None, 1
    try:
        job = read_job(path)
        # Imported only now: where torch is broken, the result has to say so.
        from provider_image.work import perform

        result = perform(job, path.parent)
    except VersionMismatch as error:
        result, failed = failure(job, str(error)), EXIT_VERSION_MISMATCH
    except NimaError as error:
        result = failure(job, str(error))
    except Exception as error:  # the border of the program: a provider's odd machine must not end in silence
        result = failure(job, f"The job failed unexpectedly with {type(error).__name__}: {error}")
    try:
        write_atomically(path.parent / RESULT_FILE, result.to_json().encode())
    except OSError as error:
        print(f"The result could not be written: {error}", file=sys.stderr)
        return 1
    if result.error is not None:
        print(result.error, file=sys.stderr)
    return 0 if result.ok else failed


def read_job(path: Path) -> Job:
    """The job of a `job.json`; raises `NimaError`."""
    # Bytes that are not UTF-8 become replacement characters, which the parser then refuses or the checks do.
    return Job.from_json(read_bounded(path, MAX_JOB_BYTES).decode(errors="replace"))


def failure(job: Job | None, error: str) -> JobResult:
    return JobResult(
        protocol=PROTOCOL,
        job_id=job.job_id if job else "unknown",
        kind=job.kind if job else None,
        ok=False,
        error=one_line(error) or "unknown error",
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
