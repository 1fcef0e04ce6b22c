"""Repeats an action that may fail for a while, with growing pauses between the attempts."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import TypeVar

_Result = TypeVar("_Result")
_Failure = TypeVar("_Failure", bound=Exception)


def growing_pauses(first: float, factor: float, longest: float = math.inf) -> Iterator[float]:
    """Yields pauses in seconds without an end: each is `factor` times the one before, up to `longest`."""
    pause = first
    while True:
        yield min(pause, longest)
        pause = min(pause * factor, longest)


async def retry_until_success(
    attempt: Callable[[], Awaitable[_Result]],
    on: type[_Failure],
    pauses: Iterable[float],
    before_pause: Callable[[_Failure, float], None],
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> _Result:
    """Awaits `attempt()` until it does not fail, and returns its result.

    Args:
        on: the failures after which `attempt` is repeated; any other failure is raised at once.
        pauses: seconds between two attempts; after the last pause comes the last attempt.
        before_pause: called with each failure and the pause that follows.
        sleep: waits for the seconds of a pause.

    Raises:
        Exception: the failure of the last attempt.
    """
    for pause in pauses:
        try:
            return await attempt()
        except on as failure:
            before_pause(failure, pause)
        await sleep(pause)
    return await attempt()
