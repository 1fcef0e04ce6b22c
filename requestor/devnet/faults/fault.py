"""What a provider can do wrong: the points at which its agent and its exe-unit ask, answered honestly here."""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal
from pathlib import Path

from requestor.devnet.faults.work import Work

Execute = Callable[[], Awaitable[int]]


class Fault:
    """An honest provider; each fault overrides what it does otherwise.

    One object lives as long as the provider's agent, over all agreements.

    Args:
        folder: the provider's working folder; its neighbours' lie beside it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def signs(self) -> bool:
        """Whether an agreement that is in order gets approved; otherwise it is never answered."""
        return True

    def bill(self, amount: Decimal) -> Decimal:
        """The GLM that a debit note asks for, where usage and price come to `amount`."""
        return amount

    def receives(self, kinds: Sequence[str]) -> None:
        """A batch of commands of these kinds has arrived, and is neither answered nor begun."""

    async def run(self, work: Work, execute: Execute) -> int:
        """Run one program: `execute` does it, once, and returns the exit code, as this does."""
        return await execute()


def vanish() -> None:
    """End this process, the provider's agent, as a power cut does: no farewell, no bill, no running task survives."""
    os.kill(os.getpid(), signal.SIGKILL)
