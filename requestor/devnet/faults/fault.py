"""Defines the points at which a provider's agent and exe-unit ask its fault what to do, and each honest answer."""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal
from pathlib import Path

from requestor.devnet.faults.work import ProgramRun

Execute = Callable[[], Awaitable[int]]


class Fault:
    """Answers as an honest provider does. A kind of fault is a subclass that overrides the points at which it differs.

    One object lives as long as the provider's agent, over all agreements.

    Args:
        folder: the provider's working folder; other providers' folders lie beside it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def signs(self) -> bool:
        """Returns whether an agreement that is in order gets approved; if not, it is never answered."""
        return True

    def bill(self, amount: Decimal) -> Decimal:
        """Returns the GLM that a debit note asks for if usage and price come to `amount`."""
        return amount

    def receives(self, kinds: Sequence[str]) -> None:
        """Is called when a batch of commands of these kinds has arrived, before it is answered or started."""

    async def run(self, work: ProgramRun, execute: Execute) -> int:
        """Runs one program and returns its exit code. `execute` does the work; an honest provider calls it once."""
        return await execute()


def vanish() -> None:
    """Kills this process, the provider's agent, as a power cut would: the agent sends no farewell and no bill.

    Running tasks end, too.
    """
    os.kill(os.getpid(), signal.SIGKILL)
