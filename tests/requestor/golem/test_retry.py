"""Trying again, with a clock of our own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from itertools import islice

import pytest

from requestor.golem.retrying import growing_pauses, retry_until_success


class Busy(Exception):
    pass


class Attempts:
    """Fails with the given exceptions in turn, then succeeds; keeps the pauses, and what was said before each."""

    def __init__(self, *failures: Exception) -> None:
        self._failures = list(failures)
        self.made = 0
        self.pauses: list[float] = []
        self.said: list[tuple[str, float]] = []

    async def attempt(self) -> str:
        self.made += 1
        if self._failures:
            raise self._failures.pop(0)
        return "done"

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)

    def run(self, pauses: Iterable[float]) -> str:
        say = lambda failure, pause: self.said.append((str(failure), pause))  # noqa: E731
        return asyncio.run(retry_until_success(self.attempt, Busy, pauses, say, self.sleep))


def test_what_succeeds_is_done_once() -> None:
    attempts = Attempts()
    assert attempts.run([1, 2]) == "done"
    assert (attempts.made, attempts.pauses) == (1, [])


def test_failures_are_told_and_followed_by_their_pauses() -> None:
    attempts = Attempts(Busy("first"), Busy("second"))
    assert attempts.run([1, 2, 4]) == "done"
    assert attempts.said == [("first", 1), ("second", 2)]
    assert attempts.pauses == [1, 2]


def test_the_attempt_after_the_last_pause_is_the_last() -> None:
    attempts = Attempts(Busy("first"), Busy("second"), Busy("third"), Busy("fourth"))
    with pytest.raises(Busy, match="third"):
        attempts.run([1, 2])
    assert (attempts.made, attempts.pauses) == (3, [1, 2])


def test_other_failures_are_not_tried_again() -> None:
    attempts = Attempts(ValueError("wrong"))
    with pytest.raises(ValueError, match="wrong"):
        attempts.run([1, 2])
    assert (attempts.made, attempts.said) == (1, [])


def test_pauses_grow_up_to_the_longest() -> None:
    assert list(islice(growing_pauses(2.0, 1.5), 4)) == [2.0, 3.0, 4.5, 6.75]
    assert list(islice(growing_pauses(4.0, 2.0, longest=10.0), 4)) == [4.0, 8.0, 10.0, 10.0]
    assert list(islice(growing_pauses(5.0, 1.0), 3)) == [5.0, 5.0, 5.0]
