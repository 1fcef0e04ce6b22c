"""Defines faults of providers that fail, slow down, disappear, or charge too much.

If such providers send results, the results are honest.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

from requestor.devnet.faults.fault import Execute, Fault, vanish
from requestor.devnet.faults.work import ProgramRun

CRASH_SECONDS = 1.0  # from the start of the task to the crash
OVERCHARGE = 100


class Crash(Fault):
    """Ends one second after the start of its first task, and never comes back.

    The agent, the exe-unit and the task end; the provider's daemon keeps running.
    """

    async def run(self, work: ProgramRun, execute: Execute) -> int:
        await asyncio.wait({asyncio.ensure_future(execute())}, timeout=CRASH_SECONDS)
        vanish()
        raise AssertionError("this process has ended")


class Hang(Fault):
    """Never ends a task, and bills the time that passes."""

    async def run(self, work: ProgramRun, execute: Execute) -> int:
        await asyncio.Event().wait()
        raise AssertionError("nobody sets this event")


class Slow(Fault):
    """Takes `factor` times as long as an honest provider."""

    def __init__(self, folder: Path, factor: float) -> None:
        super().__init__(folder)
        self.factor = factor

    async def run(self, work: ProgramRun, execute: Execute) -> int:
        started = time.monotonic()
        code = await execute()
        await asyncio.sleep((self.factor - 1) * (time.monotonic() - started))
        return code


class Drop(Fault):
    """Does its first task well, and ends when the second one arrives."""

    _tasks = 0

    def receives(self, kinds: Sequence[str]) -> None:
        self._tasks += "run" in kinds
        if self._tasks > 1:
            vanish()


class Refuse(Fault):
    """Negotiates, but never signs an agreement."""

    def signs(self) -> bool:
        return False


class Overcharge(Fault):
    """Charges 100 times what usage and price come to, in debit notes and invoices."""

    def bill(self, amount: Decimal) -> Decimal:
        return OVERCHARGE * amount
