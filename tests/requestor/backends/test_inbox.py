"""Files that providers send: within their limits they are taken, and of a refused answer nothing stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from nima.wire.jobs import MAX_RESULT_BYTES, PROTOCOL, Job, JobError, JobResult, VersionMismatch
from requestor.backends.base import Task
from requestor.backends.hired import CommandFailure
from requestor.backends.inbox import Inbox, Junk, NoResult
from requestor.golem.gftp.messages import limit_of

TASK = Task(Job(PROTOCOL, "embed", "job-1", "n", "/", "0" * 64, ("0" * 64,), None, 0), (), None, 10.0, 1000)
GOOD = JobResult(PROTOCOL, "job-1", "embed", True, None).to_json()


@pytest.fixture
def inbox(tmp_path: Path) -> Inbox:
    inbox = Inbox(tmp_path)
    inbox.expect(TASK)
    return inbox


def test_each_file_has_the_limit_of_the_task(inbox: Inbox) -> None:
    assert limit_of(inbox.result_file(TASK), 10**9) == MAX_RESULT_BYTES
    assert limit_of(inbox.output_file(TASK), 10**9) == TASK.largest_output
    assert limit_of(inbox.output_file(TASK), 10) == 10
    assert limit_of(Path("/elsewhere/output"), 10**9) == 10**9


def test_of_a_good_answer_only_the_output_stays(inbox: Inbox) -> None:
    inbox.result_file(TASK).write_text(GOOD)
    inbox.output_file(TASK).write_bytes(b"features")
    result, output = inbox.take(TASK)
    assert result.ok
    assert output is not None
    assert output.read_bytes() == b"features"
    assert list(inbox.folder.rglob("*")) == [output]


@pytest.mark.parametrize(
    ("result", "output", "error"),
    [
        ("{", b"x", Junk),
        ("x" * (MAX_RESULT_BYTES + 1), b"x", Junk),
        (GOOD, b"x" * 1001, Junk),
        (GOOD.replace(f'"protocol": {PROTOCOL}', '"protocol": 999'), b"x", VersionMismatch),
        (JobResult(PROTOCOL, "job-1", "embed", False, "no memory").to_json(), b"x" * 2000, JobError),
        (None, b"x", NoResult),
    ],
    ids=["no result", "long result", "long output", "another version", "failed", "none"],
)
def test_of_a_refused_answer_nothing_stays(
    inbox: Inbox, result: str | None, output: bytes, error: type[Exception]
) -> None:
    if result is not None:
        inbox.result_file(TASK).write_text(result)
    inbox.output_file(TASK).write_bytes(output)
    partial = inbox.output_file(TASK).with_name(".output.safetensors.0123")  # a file that is still arriving
    partial.write_bytes(b"x")
    with pytest.raises(error):
        inbox.take(TASK)
    inbox.clear(TASK)
    assert list(inbox.folder.iterdir()) == []


def test_what_a_killed_process_left_is_deleted(inbox: Inbox) -> None:
    inbox.output_file(TASK).write_bytes(b"x")
    (inbox.folder / "job-0.safetensors").write_bytes(b"x")
    inbox.empty()
    assert list(inbox.folder.iterdir()) == []


def test_what_a_provider_writes_is_printable_before_anybody_sees_it() -> None:
    failure = CommandFailure.of("\x1b[31mrun\x1b[0m\nexited with code 76", "first\n\x1b]0;owned\x07last\u202e line\n\n")
    assert failure.message == "[31mrun [0m exited with code 76"
    assert failure.is_mismatch
    assert str(failure) == "]0;owned last line"
    assert CommandFailure.of("broke", " \n").last_line == ""
