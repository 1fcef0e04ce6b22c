"""The time at which a round closes: the rule, and that nothing can keep a round open."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from requestor.backends import closing
from requestor.backends.closing import RoundLimits, items_until

LIMITS = RoundLimits(seconds=100, extension=50, quorum=0.5, spare=1.3, grace=10)


@pytest.mark.parametrize(
    ("answered", "admitted", "expected"),
    [
        ([], [], 150),  # no quorum: the extension
        ([1, 2, 3], [1, 2, 3], 150),
        ([1, 2, 3, 4], [1, 2, 3, 4], 20),  # a quorum, but not enough yet: four times as long …
        ([1, 2, 3, 4, 5], [1, 2, 3, 4, 5], 20),  # … as the quorum took
        ([1, 1, 1, 2], [1, 1, 1, 2], 12),  # … and ten seconds at least
        ([1, 2, 3, 30], [1, 2, 3, 30], 100),  # … and never beyond the round's time
        ([1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6], 16),  # enough: a grace of ten seconds
        ([1, 2, 3, 4, 5, 40], [1, 2, 3, 4, 5, 40], 80),  # … or of as long as it took
        ([1, 2, 3, 4, 5, 60], [1, 2, 3, 4, 5, 60], 100),  # … but never beyond the round's time
        ([1, 2, 3, 4, 5, 6], [1, 2, 3], 150),  # half of the answers were refused
        ([1, 2, 3, 4, 5, 6, 20], [1, 2, 3, 20], 40),  # refusals count as answers once there is a quorum
        ([1, 2, 3, 120], [1, 2, 3, 120], 100),  # the quorum came in the extension: closes at once
    ],
)
def test_by_hand(answered: list[float], admitted: list[float], expected: float) -> None:
    assert LIMITS.closing_time(8, answered, admitted) == expected


times = st.lists(st.floats(0, 200), max_size=30).map(sorted)


@given(st.integers(1, 30), times, st.data())
def test_every_round_ends_within_its_longest_time(tasks: int, answered: list[float], data: st.DataObject) -> None:
    admitted = sorted(data.draw(st.lists(st.sampled_from(answered), unique=True))) if answered else []
    closes = LIMITS.closing_time(tasks, answered, admitted)
    assert closes <= LIMITS.longest
    assert closes <= LIMITS.seconds or len(admitted) < LIMITS.quorum_of(tasks)


@given(st.integers(1, 1000))
def test_no_more_answers_are_needed_than_there_are_tasks(tasks: int) -> None:
    assert 1 <= LIMITS.quorum_of(tasks) <= LIMITS.needed(tasks) <= tasks


async def numbers(pause: float, count: int) -> AsyncIterator[int]:
    for number in range(count):
        await asyncio.sleep(pause)
        yield number


def collect(items: AsyncIterator[int], seconds: float) -> list[int]:
    async def run() -> list[int]:
        end = time.monotonic() + seconds
        return [item async for item in items_until(items, lambda: end)]

    return asyncio.run(asyncio.wait_for(run(), 30))


def test_everything_comes_through_in_order() -> None:
    assert collect(numbers(0, 5), 20) == [0, 1, 2, 3, 4]


def test_who_dawdles_is_not_waited_for() -> None:
    assert collect(numbers(60, 1), 0.1) == []


def test_what_has_arrived_when_the_time_is_up_still_counts() -> None:
    async def run() -> list[int]:
        end = time.monotonic() + 0.1
        received = []
        async for item in items_until(numbers(0, 3), lambda: end):
            received.append(item)
            await asyncio.sleep(0.1)  # judging an update takes longer than the round
        return received

    assert asyncio.run(run()) == [0, 1, 2]


def test_who_refuses_to_end_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closing, "FAREWELL", 0.1)
    freed = asyncio.Event()

    async def stubborn() -> AsyncIterator[int]:
        yield 1
        while not freed.is_set():
            try:
                await freed.wait()
            except asyncio.CancelledError:
                continue

    async def run() -> list[int]:
        end = time.monotonic() + 0.1
        received = [item async for item in items_until(stubborn(), lambda: end)]
        freed.set()
        return received

    assert asyncio.run(asyncio.wait_for(run(), 30)) == [1]


def test_what_the_items_raise_comes_through() -> None:
    async def broken() -> AsyncIterator[int]:
        yield 1
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="disk is full"):
        collect(broken(), 20)


def test_a_consumer_that_breaks_off_closes_the_items() -> None:
    closed = []

    async def items() -> AsyncIterator[int]:
        try:
            for number in range(100):
                yield number
        finally:
            closed.append(True)

    async def run() -> None:
        end = time.monotonic() + 20
        arriving = items_until(items(), lambda: end)
        assert await anext(arriving) == 0
        await arriving.aclose()

    asyncio.run(run())
    assert closed == [True]
