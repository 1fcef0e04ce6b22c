"""Runs an exe-unit over a real service bus, without a daemon, for the tests of exe-units and of images."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from requestor.devnet.exe_unit.exe_unit import ExeUnit
from requestor.devnet.provider.pricing import COUNTERS
from requestor.devnet.services.hub import Router
from requestor.devnet.services.ports import Ports
from requestor.golem.bus.connection import ServiceBus
from requestor.vm.runtime import HOST_MACHINE, TaskMachine

ACTIVITY = "f00d"
DEPLOY, START = {"deploy": {}}, {"start": {"args": []}}
AT_END = {"stdout": {"atEnd": {}}, "stderr": {"atEnd": {}}}


def sh(script: str, capture: dict[str, Any] | None = AT_END) -> dict[str, Any]:
    """Returns the command that runs a shell script."""
    return {"run": {"entry_point": "/bin/sh", "args": ["-c", script], "capture": capture}}


class Activity:
    """Acts as the requestor of one exe-unit, and collects the reports that the exe-unit sends to its daemon."""

    def __init__(self, bus: ServiceBus, unit: ExeUnit, folder: Path) -> None:
        self._bus, self.unit, self.folder = bus, unit, folder
        self.states: list[Any] = []
        self.usages: list[Any] = []
        self._batches = 0

    async def daemon(self, caller: str, address: str, message: Any) -> None:
        """Takes a report, as the daemon would."""
        if address.endswith("SetActivityState"):
            self.states.append(message["state"])
        else:
            self.usages.append(message["usage"])

    async def call(self, name: str, **message: Any) -> Any:
        """Calls a method of the exe-unit."""
        address = f"/public/exeunit/{ACTIVITY}/{name}"
        return await self._bus.call(address, {"activityId": ACTIVITY, **message}, timeout=30)

    async def exec(self, *commands: dict[str, Any]) -> str:
        """Starts a batch, and returns its id."""
        self._batches += 1
        batch_id = f"batch-{self._batches}"
        return await self.call("Exec", batchId=batch_id, exeScript=list(commands), timeout=None)

    async def results(self, batch_id: str, timeout: float = 20, index: int | None = None) -> list[dict[str, Any]]:
        """Returns the results of a batch."""
        return await self.call("GetExecBatchResults", batchId=batch_id, timeout=timeout, commandIndex=index)

    async def run(self, *commands: dict[str, Any]) -> list[dict[str, Any]]:
        """Runs a whole batch and returns its results; if the batch fails, waits for the last result."""
        batch_id = await self.exec(*commands)
        for _ in range(400):
            results = await self.results(batch_id, 0.05)
            if results and results[-1]["isBatchFinished"]:
                return results
        raise TimeoutError

    async def run_one(self, command: dict[str, Any]) -> dict[str, Any]:
        """Runs one command, and returns its result."""
        return (await self.run(command))[0]

    async def state(self) -> list[str | None]:
        """Returns the activity's state, and the state that is being entered."""
        return (await self.call("GetActivityState"))["state"]

    async def events(self, batch_id: str) -> list[dict[str, Any]]:
        """Returns the events of a batch, when it has ended."""
        address = f"/public/exeunit/{ACTIVITY}/StreamExecBatchResults"
        message = {"activity_id": ACTIVITY, "batch_id": batch_id}
        return [event async for event in self._bus.stream(address, message, timeout=20)]


@contextlib.asynccontextmanager
async def activity(
    folder: Path, package: str | None = None, machine: TaskMachine = HOST_MACHINE
) -> AsyncIterator[Activity]:
    """Starts an exe-unit with its own service bus; both end with the context."""
    with Ports() as ports:
        port = ports.take()
        server = await Router().serve(port)
        url = f"tcp://127.0.0.1:{port}"
        async with await ServiceBus.connect(url) as provider, await ServiceBus.connect(url) as requestor:
            (folder / "activity").mkdir(parents=True)
            unit = ExeUnit(
                provider,
                ACTIVITY,
                folder=folder / "activity",
                cache=folder / "cache",
                package=package,
                counters=COUNTERS,
                machine=machine,
            )
            found = Activity(requestor, unit, folder / "activity")
            await requestor.register("/local/activity", found.daemon)
            await unit.start()
            try:
                yield found
            finally:
                await unit.stop()
        server.close()


def with_activity(
    folder: Path,
    use: Callable[[Activity], Awaitable[None]],
    package: str | None = None,
    machine: TaskMachine = HOST_MACHINE,
) -> None:
    """Runs `use` on a new activity, for 60 s at most."""

    async def session() -> None:
        async with activity(folder, package, machine) as found:
            await asyncio.wait_for(use(found), 60)

    asyncio.run(session())
