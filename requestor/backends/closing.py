"""Decides when a round closes. Every wait has a bound, whatever providers and backends do."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

LAST_CALL = 0.05  # seconds in which an item that has already arrived is handed over when the time is up
FAREWELL = 10.0  # seconds that a backend has to clean up after a round was closed


@dataclass(frozen=True)
class RoundLimits:
    """Holds how long a round waits, and for how many updates.

    seconds: the round closes after this time if it has a quorum.
    extension: seconds that the round waits longer, once, if it has no quorum by then.
    attempt: time limit in seconds of one task on one provider, its first transfers included.
    quorum: share of the tasks; with fewer admitted updates, the model stays as it is.
    spare: number of clients that are asked, relative to the number that is needed (production federated learning asks
        1.3 times as many: Bonawitz et al. 2019, arXiv 1902.01046). As soon as the needed number has answered, the rest
        get as much time again; after that, the round closes without them.
    patience: if the quorum is there but fewer than needed answer, because some hang, the rest get so many times the
        time that the quorum took.
    grace: the least time in seconds that the rest get.
    """

    seconds: float = 1800.0
    extension: float = 900.0
    attempt: float = 900.0
    quorum: float = 0.5
    spare: float = 1.3
    patience: float = 4.0
    grace: float = 60.0

    @property
    def longest(self) -> float:
        """Returns the seconds after which a round is over, whatever happens."""
        return self.seconds + self.extension

    def quorum_of(self, tasks: int) -> int:
        return max(1, math.ceil(self.quorum * tasks))

    def needed(self, tasks: int) -> int:
        return max(self.quorum_of(tasks), math.floor(tasks / self.spare))

    def closing_time(self, tasks: int, answered: Sequence[float], admitted: Sequence[float]) -> float:
        """Returns when the round closes, in seconds from its start, by what is known now.

        Args:
            tasks: number of tasks in the round.
            answered: times at which updates came in, in seconds from the start, in order.
            admitted: the same for the updates that were admitted.
        """
        quorum = self.quorum_of(tasks)
        if len(admitted) < quorum:
            return self.longest
        needed = self.needed(tasks)
        if len(answered) < needed:
            since, times = admitted[quorum - 1], self.patience
        else:
            since, times = max(answered[needed - 1], admitted[quorum - 1]), 1.0
        return min(self.seconds, since + max(times * since, self.grace))


DEFAULT_LIMITS = RoundLimits()
ROUND_SECONDS = DEFAULT_LIMITS.seconds
ATTEMPT_SECONDS = DEFAULT_LIMITS.attempt


async def items_until(items: AsyncIterator[T], closes: Callable[[], float]) -> AsyncGenerator[T, None]:
    """Yields the items as they come, until the time is up; then closes `items`.

    Args:
        items: may take for ever, and may refuse to end.
        closes: returns the end time, on the clock of `time.monotonic`; is asked again after every item.
    """
    following: asyncio.Future[T | None] = asyncio.ensure_future(anext(items, None))
    try:
        while True:
            left = closes() - time.monotonic()
            done, _ = await asyncio.wait({following}, timeout=max(left, LAST_CALL))
            if not done:
                return
            item = following.result()
            if item is None:
                return
            following = asyncio.ensure_future(anext(items, None))  # is awaited while the caller handles `item`
            yield item
    finally:
        following.cancel()
        await asyncio.wait({asyncio.ensure_future(_end(items, following))}, timeout=FAREWELL)


async def _end(items: AsyncIterator[T], following: asyncio.Future[T | None]) -> None:
    with suppress(asyncio.CancelledError, Exception):
        await following
    if isinstance(items, AsyncGenerator):
        with suppress(Exception):
            await items.aclose()
