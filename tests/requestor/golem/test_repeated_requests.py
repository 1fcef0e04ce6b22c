"""Requests that are sent again, with a clock of our own."""

from __future__ import annotations

import asyncio

import pytest

from requestor.golem.retrying import PATIENCE, REQUEST_ATTEMPTS, Absence, Trouble, repeat_request, trouble_of_status


class Failed(Exception):
    def __init__(self, trouble: Trouble | None) -> None:
        self.trouble = trouble


class Daemon:
    """Fails with the troubles in turn, then answers; its clock moves only while it is waited for."""

    def __init__(self, *troubles: Trouble | None) -> None:
        self._troubles = list(troubles)
        self.asked = 0
        self.now = 0.0
        self.absence = Absence()

    async def send(self) -> str:
        self.asked += 1
        if self._troubles:
            raise Failed(self._troubles.pop(0))
        return "answer"

    async def sleep(self, seconds: float) -> None:
        self.now += seconds

    def ask(self, method: str = "GET", path: str = "/me", patience: float = PATIENCE) -> str:
        trouble_of = lambda error: error.trouble  # noqa: E731
        return asyncio.run(
            repeat_request(method, path, self.send, trouble_of, patience, self.sleep, lambda: self.now, self.absence)
        )


@pytest.mark.parametrize("trouble", list(Trouble))
def test_a_request_that_reads_is_sent_again(trouble: Trouble) -> None:
    daemon = Daemon(*[trouble] * 5)
    assert daemon.ask() == "answer"
    assert daemon.asked == 6


def test_a_daemon_that_is_back_within_a_minute_is_waited_for() -> None:
    daemon = Daemon(*[Trouble.UNTOUCHED] * 1000)
    with pytest.raises(Failed):
        daemon.ask()
    assert 60 < daemon.now < 90


def test_only_the_first_of_many_requests_waits_for_an_absent_daemon() -> None:
    daemon = Daemon(*[Trouble.UNTOUCHED] * 1000)
    with pytest.raises(Failed):
        daemon.ask()
    waited, asked = daemon.now, daemon.asked
    with pytest.raises(Failed):
        daemon.ask()
    assert (daemon.now, daemon.asked) == (waited, asked + 1)
    daemon._troubles = []  # it is back
    assert daemon.ask() == "answer"
    daemon._troubles = [Trouble.UNTOUCHED] * 5
    assert daemon.ask() == "answer", "the next absence is waited for"


def test_an_error_of_the_daemon_itself_is_believed_after_some_attempts() -> None:
    daemon = Daemon(*[Trouble.ERROR] * 1000)
    with pytest.raises(Failed):
        daemon.ask()
    assert daemon.asked == REQUEST_ATTEMPTS


@pytest.mark.parametrize("path", ["/demands", "/agreements", "/agreements/1/confirm", "/activity", "/activity/1/exec"])
@pytest.mark.parametrize("trouble", [Trouble.AWAY, Trouble.ERROR])
def test_what_may_have_taken_effect_is_not_done_twice(path: str, trouble: Trouble) -> None:
    daemon = Daemon(trouble)
    with pytest.raises(Failed):
        daemon.ask("POST", path)
    assert daemon.asked == 1


@pytest.mark.parametrize(
    ("path", "trouble"),
    [("/demands", Trouble.UNTOUCHED), ("/invoices/1/accept", Trouble.AWAY), ("/agreements/1/terminate", Trouble.ERROR)],
)
def test_what_changes_nothing_the_second_time_is_sent_again(path: str, trouble: Trouble) -> None:
    assert Daemon(trouble).ask("POST", path) == "answer"


def test_a_final_failure_and_an_impatient_caller_get_one_attempt() -> None:
    for daemon, patience in ((Daemon(None), PATIENCE), (Daemon(Trouble.AWAY), 0.0)):
        with pytest.raises(Failed):
            daemon.ask(patience=patience)
        assert daemon.asked == 1


@pytest.mark.parametrize(
    ("status", "answer", "trouble"),
    [
        (429, "", Trouble.UNTOUCHED),
        (502, "<html>", Trouble.AWAY),
        (504, "", Trouble.AWAY),
        (500, '{"message": "the database is locked"}', Trouble.ERROR),
        (500, '{"message": "GSB error: endpoint address not found"}', None),
        (400, "", None),
        (408, "", None),
    ],
)
def test_a_status_tells_the_trouble(status: int, answer: str, trouble: Trouble | None) -> None:
    assert trouble_of_status(status, answer) is trouble
