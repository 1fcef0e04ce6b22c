"""The turns on the uplink, and the time limits of uploads and attempts."""

from __future__ import annotations

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from requestor.planning.attempt_time import attempt_times
from requestor.planning.uplink import LEAST_UPLINK, UPLOADS_AT_ONCE, Uplink, upload_seconds


def test_only_a_few_are_sent_files_at_once_and_the_first_to_ask_are_the_first() -> None:
    async def run() -> list[int]:
        uplink, began, running = Uplink(), list[int](), 0

        async def upload(number: int) -> None:
            nonlocal running
            async with uplink.turn(lambda: True) as has_turn:
                assert has_turn
                began.append(number)
                running += 1
                assert running <= UPLOADS_AT_ONCE
                await asyncio.sleep(0.001 * number)
                running -= 1

        await asyncio.gather(*(upload(number) for number in range(3 * UPLOADS_AT_ONCE)))
        return began

    assert asyncio.run(run()) == list(range(3 * UPLOADS_AT_ONCE))


def test_who_may_not_wait_gets_no_turn_and_leaves_the_line() -> None:
    async def run() -> None:
        uplink = Uplink()
        turns = [uplink.turn(lambda: True) for _ in range(UPLOADS_AT_ONCE)]
        for turn in turns:
            assert await turn.__aenter__()
        async with uplink.turn(lambda: False) as has_turn:
            assert not has_turn
        await turns[0].__aexit__(None, None, None)
        async with uplink.turn(lambda: False) as has_turn:
            assert has_turn

    asyncio.run(run())


@pytest.mark.parametrize("others", [0, 1])
def test_the_uplink_is_to_blame_unless_another_upload_ended_meanwhile(others: int) -> None:
    uplink = Uplink()
    uplink.finish()
    too_late, in_time = uplink.begin(0.0), uplink.begin(1000.0)
    for _ in range(others):
        uplink.finish()
    assert too_late.until <= time.monotonic()
    assert uplink.is_to_blame(too_late) == (others == 0)
    assert not uplink.is_to_blame(in_time)


@given(st.integers(1, 10**10))
def test_an_upload_that_has_its_share_of_the_least_uplink_ends_in_time(size: int) -> None:
    assert size / (LEAST_UPLINK / UPLOADS_AT_ONCE) < upload_seconds(size)
    assert upload_seconds(0) == 0


@given(st.booleans(), st.integers(0, 10**10), st.floats(1, 10**5), st.floats(1, 10**5))
def test_attempts_get_shorter_and_never_shorter_than_usual(
    deployed: bool, size: int, seconds: float, usual: float
) -> None:
    times = list(attempt_times(deployed, size, seconds, usual))
    assert times[0].working == seconds
    assert times[-1].working == min(seconds, usual)
    assert [limits.whole for limits in times] == sorted((limits.whole for limits in times), reverse=True)
    assert all((limits.start == 0) == deployed and (limits.sending == 0) == (size == 0) for limits in times)
