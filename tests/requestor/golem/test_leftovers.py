"""Leftovers: money that cannot be released is remembered for the next command, which tries again."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from failing_daemon import FailingDaemon, Rule

from requestor.errors import DaemonRefused
from requestor.golem.leftovers import Leftover, known_leftovers, release_leftovers, release_or_remember, remember
from requestor.golem.networks import GolemConnection

HOUR = 3600.0


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))


def allocation(url: str = "http://127.0.0.1:1", until: float = HOUR) -> Leftover:
    return Leftover("allocation", "one", url, "2", time.time() + until)


async def refuse() -> None:
    raise DaemonRefused("The daemon answered 502.", 502)


async def succeed() -> None: ...


def test_what_is_released_is_not_remembered() -> None:
    assert asyncio.run(release_or_remember(allocation(), succeed))
    assert known_leftovers() == []


def test_what_cannot_be_released_is_named_with_amount_command_and_reason() -> None:
    assert not asyncio.run(release_or_remember(allocation(), refuse))
    (leftover,) = known_leftovers()
    text = leftover.describe()
    assert "2 GLM stay reserved until" in text
    assert "yagna payment release-allocations" in text
    assert "answered 502" in text


def test_what_has_ended_by_itself_is_forgotten() -> None:
    remember(allocation(until=-1))
    assert known_leftovers() == []


def test_the_next_command_tries_again() -> None:
    async def run() -> list[int]:
        async with FailingDaemon.before("http://127.0.0.1:1", [Rule("DELETE", "/allocations/", "gone", times=9)]) as it:
            remember(allocation(it.url))
            return [len(await release_leftovers(GolemConnection(url, "key", "hoodi"))) for url in (it.url, "http://x")]

    assert asyncio.run(run()) == [1, 0]


def test_a_daemon_that_still_fails_changes_nothing() -> None:
    remember(allocation())
    assert asyncio.run(release_leftovers(GolemConnection("http://127.0.0.1:1", "key", "hoodi"))) == []
    assert len(known_leftovers()) == 1
