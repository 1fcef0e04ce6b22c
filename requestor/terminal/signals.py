"""Ends work cleanly when its user presses Ctrl-C, closes the terminal, or has the process terminated."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

import click

from requestor.errors import RunStopped

_Result = TypeVar("_Result")

ENDING_AGREEMENTS = "Ending the agreements and waiting for the bills. This takes two minutes at most."


async def run_until_stopped(
    work: Coroutine[Any, Any, _Result], stop: Callable[[], str | None], kept: str, farewell: str
) -> _Result:
    """Awaits work until its end or a signal, and returns its result.

    The first Ctrl-C calls `stop`; if nothing is worth waiting for, it ends the work at once. A second Ctrl-C, SIGTERM
    and SIGHUP always end it at once: the work is cancelled, and cleans up.

    Args:
        work: the work.
        stop: lets no further part of the work begin, and returns the name of the part that is worth waiting for; None
            if there is none.
        kept: a sentence that says what is kept.
        farewell: a sentence that says what the work does when it is cancelled, and how long this takes.

    Raises RunStopped if the work was cancelled.
    """
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(work)
    asked, ending = False, False
    shown_on = [stream for stream in (0, 1, 2) if os.isatty(stream)]  # asked now, as a closed terminal is none

    def end() -> None:
        nonlocal ending
        if not ending:
            ending = True
            stop()
            task.cancel()
        click.echo(farewell, err=True)

    def interrupt() -> None:
        nonlocal asked
        part = stop()
        if part is None or asked:
            end()
        else:
            asked = True
            click.echo(f"Stopping after {part}. Press Ctrl-C again to stop now.", err=True)

    def hang_up() -> None:
        _forget_terminal(shown_on)
        end()

    handlers = {signal.SIGINT: interrupt, signal.SIGTERM: end, signal.SIGHUP: hang_up}
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    try:
        return await task
    except asyncio.CancelledError:
        raise RunStopped(kept) from None
    finally:
        for number in handlers:
            loop.remove_signal_handler(number)


def _forget_terminal(streams: list[int]) -> None:
    """Writes nothing to a terminal any more: it is closed, and every further line would be an error."""
    with suppress(OSError):
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in streams:
            os.dup2(nowhere, stream)
        os.close(nowhere)
