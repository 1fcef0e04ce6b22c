"""Trying again what may fail for a while, with pauses in between that grow."""

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
        on: the failures after which it is tried again; any other is raised at once.
        pauses: seconds between two attempts; where they end, the next attempt is the last.
        before_pause: told of each failure, and of the pause that follows.
        sleep: what a pause is spent with.

    Raises:
        Exception: what the last attempt raised.
    """
    for pause in pauses:
        try:
            return await attempt()
        except on as failure:
            before_pause(failure, pause)
        await sleep(pause)
    return await attempt()
