"""Repeats an action that may fail for a while, with growing pauses between the attempts.

A request to a daemon is sent again if it failed for a reason that passes: a restart, too many requests, a broken proxy.
One that may have taken effect is only sent again if that does no harm: a second demand, agreement or activity would
stay, and cost.
"""

from __future__ import annotations

import asyncio
import logging
import math
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from enum import Enum
from typing import TypeVar

import aiohttp

_Result = TypeVar("_Result")
_Failure = TypeVar("_Failure", bound=Exception)

PATIENCE = 75.0  # seconds for which an absent daemon is waited for: one that is restarted is back within a minute
REQUEST_ATTEMPTS = 7  # number of attempts at a request that the daemon answers with an error of its own
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 5.0  # seconds between two attempts

_UNTOUCHED = (429, 503)
_AWAY = (502, 504)
_HARMLESS_POSTS = re.compile(r"/(terminate|accept|reject|wait)$")  # the second one changes nothing
_ABOUT_PROVIDER = re.compile(r"GSB|endpoint address not found", re.IGNORECASE)

logger = logging.getLogger(__name__)


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


class Trouble(Enum):
    """Names the ways in which a request fails that may succeed later."""

    UNTOUCHED = "the daemon has not handled the request"
    AWAY = "no answer of the daemon came, so that nobody knows whether the request took effect"
    ERROR = "the daemon had an error"


def trouble_of_status(status: int, answer: str) -> Trouble | None:
    """Returns the trouble that an HTTP status means; None if sending the request again would not help.

    Args:
        status: the HTTP status, 400 or above.
        answer: the body of the answer. A 500 that is about an unreachable provider is no trouble of the daemon.
    """
    if status in _UNTOUCHED:
        return Trouble.UNTOUCHED
    if status in _AWAY:
        return Trouble.AWAY
    if status == 500 and not about_provider(answer):
        return Trouble.ERROR
    return None


def about_provider(answer: str) -> bool:
    """Returns True if a daemon's answer says that a provider could not be reached over the service bus."""
    return _ABOUT_PROVIDER.search(answer) is not None


def trouble_of_error(error: BaseException) -> Trouble | None:
    """Returns the trouble that an exception of aiohttp means; None for any other exception."""
    if isinstance(error, aiohttp.ClientConnectorError):
        return Trouble.UNTOUCHED
    if isinstance(error, aiohttp.ClientConnectionError | aiohttp.ClientPayloadError | asyncio.TimeoutError):
        return Trouble.AWAY
    return None


def may_repeat(method: str, path: str, trouble: Trouble) -> bool:
    """Returns True if a request may be sent again after a trouble, because that cannot have an effect twice."""
    if method.upper() != "POST" or trouble is Trouble.UNTOUCHED:
        return True
    return _HARMLESS_POSTS.search(path) is not None


class Absence:
    """Knows since when nothing listens at a daemon's address, so that only the first of many requests waits for it.

    since: time on the clock of `repeat_request`, in seconds; None while the daemon is there.
    """

    def __init__(self) -> None:
        self.since: float | None = None


async def repeat_request(
    method: str,
    path: str,
    send: Callable[[], Awaitable[_Result]],
    trouble_of: Callable[[Exception], Trouble | None],
    patience: float = PATIENCE,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    clock: Callable[[], float] = time.monotonic,
    absence: Absence | None = None,
) -> _Result:
    """Sends a request until it succeeds, or fails for good; returns its result.

    Args:
        method: HTTP method.
        path: path of the URL, without the query.
        send: sends the request once.
        trouble_of: returns the trouble that a failure of `send` means; None if the failure is final.
        patience: seconds after which an absent daemon is given up, provided that `REQUEST_ATTEMPTS` were made; 0 makes
            a single attempt.
        sleep: waits for some seconds.
        clock: returns the time in seconds.
        absence: shared by all requests to one daemon; the daemon is given up if it is absent for longer than
            `patience`, however new the request is. None for a request of its own.

    Raises:
        Exception: the failure of the last attempt.
    """
    begun, absence = clock(), absence or Absence()
    for attempt, pause in enumerate(growing_pauses(FIRST_PAUSE, 2.0, LONGEST_PAUSE), 1):
        try:
            result = await send()
            absence.since = None
            return result
        except Exception as error:
            trouble = trouble_of(error)
            if trouble is Trouble.UNTOUCHED:
                absence.since = clock() if absence.since is None else absence.since
            elif trouble is not Trouble.AWAY:
                absence.since = None
            if trouble is None or not may_repeat(method, path, trouble) or not patience:
                raise
            tired = trouble is Trouble.ERROR or clock() - begun >= patience
            gone = absence.since is not None and absence.since < begun and clock() - absence.since >= patience
            if gone or (attempt >= REQUEST_ATTEMPTS and tired):
                raise
            logger.info("%s %s is sent again in %.2g s: %s", method, path, pause, error or type(error).__name__)
        await sleep(pause)
    raise AssertionError("pauses have no end")
