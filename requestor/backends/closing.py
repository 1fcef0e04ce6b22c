"""Decides when a round closes. Every wait has a bound, whatever providers and backends do."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from requestor.backends.base import Task
from requestor.planning import waiting_seconds

T = TypeVar("T")

LAST_CALL = 0.05  # seconds for which an item is awaited even if the time is up, as it may have arrived already
FAREWELL = 10.0  # seconds that a backend has to clean up after a round was closed


@dataclass(frozen=True)
class RoundLimits:
    """Holds the limits of the time that a round waits, and of the number of updates that it waits for.

    seconds: time in seconds after which the round closes if it has a quorum.
    extension: seconds that the round waits longer if it has no quorum by then.
    quorum: share of the tasks, 0 to 1, whose updates must be admitted; with fewer, the model stays as it is.
    spare: number of clients that are asked, divided by the number that is needed (production federated learning asks
        1.3 times as many: Bonawitz et al. 2019, arXiv 1902.01046). As soon as the needed number has answered, the rest
        get as much time again; after that, the round closes without them.
    patience: factor for the case that the quorum is reached, but fewer than the needed number answer, because some
        hang: the rest get the time that the quorum took times this factor.
    grace: the least time in seconds that the rest get.
    """

    seconds: float = 1800.0
    extension: float = 900.0
    quorum: float = 0.5
    spare: float = 1.3
    patience: float = 4.0
    grace: float = 60.0

    @classmethod
    def of(cls, tasks: Sequence[Task], workers: int) -> RoundLimits:
        """Returns the limits for the work of these tasks, in which slow providers behind a slow uplink end, too.

        Args:
            tasks: the tasks of the round, at least one; their files exist.
            workers: number of providers that work at the same time.
        """
        size = sum(task.bytes_without() for task in tasks)
        seconds, extension = waiting_seconds([task.seconds for task in tasks], size, workers)
        return cls(seconds=seconds, extension=extension)

    @property
    def longest(self) -> float:
        """Returns the seconds after which a round is over, whatever happens."""
        return self.seconds + self.extension

    def quorum_of(self, tasks: int) -> int:
        """Returns the number of admitted updates without which a round of so many tasks does not change the model."""
        return max(1, math.ceil(self.quorum * tasks))

    def needed(self, tasks: int) -> int:
        """Returns the number of answers after which a round of so many tasks waits only a limited time for the rest."""
        return max(self.quorum_of(tasks), math.floor(tasks / self.spare))

    def closing_time(self, tasks: int, answered: Sequence[float], admitted: Sequence[float]) -> float:
        """Returns the time at which the round closes, as far as it is known now, in seconds from the round's start.

        Args:
            tasks: number of tasks in the round.
            answered: times at which results came, in seconds from the round's start, ascending.
            admitted: times at which the admitted ones of them came.
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


async def items_until(items: AsyncIterator[T], closes: Callable[[], float]) -> AsyncGenerator[T, None]:
    """Yields the items as they come, until the time is up; then closes `items`.

    Args:
        items: the items; the iterator may take for ever, and may refuse to end.
        closes: returns the end of the time, on the clock of `time.monotonic`; it is called again after every item.
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
            following = asyncio.ensure_future(anext(items, None))  # it goes on while the caller handles `item`
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
