"""When a round closes. Every wait has a bound, whatever providers and backends do."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

LAST_CALL = 0.05  # seconds for what has already arrived to be handed over when the time is up
FAREWELL = 10.0  # seconds for a backend to tidy up behind a round that was closed


@dataclass(frozen=True)
class RoundLimits:
    """How long a round waits, and for how many.

    seconds: after which it closes if it has a quorum …
    extension: … and for which it waits, once, if it has not.
    attempt: seconds of one task on one provider, its first transfers included.
    quorum: share of the tasks without whose updates the model stays as it is.
    spare: by how much more clients are asked than are needed (production federated learning asks for 1.3 times as
        many: Bonawitz et al. 2019, arXiv 1902.01046). As soon as the needed number has answered, the rest get as much
        time again, and are not waited for after that.
    patience: how many times as long as the quorum took the others get where fewer than needed answer: some hang.
    grace: seconds that they get at least.
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
        """Seconds after which a round is over whatever happened."""
        return self.seconds + self.extension

    def quorum_of(self, tasks: int) -> int:
        return max(1, math.ceil(self.quorum * tasks))

    def needed(self, tasks: int) -> int:
        return max(self.quorum_of(tasks), math.floor(tasks / self.spare))

    def closing_time(self, tasks: int, answered: Sequence[float], admitted: Sequence[float]) -> float:
        """Seconds from the round's start at which it closes, as far as can be said now.

        Args:
            tasks: that were issued.
            answered: seconds from the start at which updates came in, in order.
            admitted: the same, of those that were admitted.
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
    """The items as they come, until the time is up; then `items` is closed.

    Args:
        items: may take for ever, and may refuse to end.
        closes: when, on the clock of `time.monotonic`; asked again after every item.
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
            following = asyncio.ensure_future(anext(items, None))  # goes on while this one is being looked at
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
