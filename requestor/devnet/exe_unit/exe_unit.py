"""Runs an activity's scripts, which come over the service bus, and reports the state and usage to the daemon.

The state machine, messages and unexpected rules follow yagna's `exe-unit` (`exe_unit.rs`, `state.rs`,
`handlers/rpc.rs`): the state advances even if a command fails, overlapping batches fail instead of being queued, and a
poll after a failure waits for its whole time-out.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from requestor.devnet.exe_unit.batch import Batch, Command, CommandFailed
from requestor.devnet.exe_unit.state import ActivityState
from requestor.devnet.exe_unit.transfer import OnMessage, Transfers
from requestor.devnet.faults import Fault, ProgramRun
from requestor.errors import ImageError
from requestor.golem.bus import ServiceBus, ServiceBusError, ServiceBusFault
from requestor.vm import (
    HOST_MACHINE,
    DeploymentRefused,
    Runtime,
    RuntimeFailed,
    TaskMachine,
    TransferFailed,
    UnpackedImage,
    UsageCounters,
    Volumes,
)

USAGE_INTERVAL = 1.0  # a daemon gives up an activity that has reported nothing for 10 s
INTERRUPTED = "Interrupted by signal: 15"

logger = logging.getLogger(__name__)


class ExeUnit:
    """Runs the commands of one activity.

    `folder` belongs to the activity and is deleted with it. `cache` holds images and outlives the activity. `package`
    is the demand's task package; None if it names none. `counters` is the agreement's usage vector. `fault` is that of
    the provider; None if it is honest. `machine` is the machine on which the exe-unit runs tasks.
    """

    def __init__(
        self,
        bus: ServiceBus,
        activity_id: str,
        *,
        folder: Path,
        cache: Path,
        package: str | None,
        counters: Sequence[str],
        fault: Fault | None = None,
        machine: TaskMachine = HOST_MACHINE,
    ) -> None:
        self.activity_id = activity_id
        self._bus, self._cache, self._package, self._counters = bus, cache, package, tuple(counters)
        self._address = f"/public/exeunit/{activity_id}"
        self._fault = fault or Fault(folder)
        self._usage = UsageCounters(machine.overhead)
        self._machine = machine
        self._runtime = Runtime(folder, self._usage, machine)
        self._transfers = Transfers(bus, folder / "transfers", Volumes({}))
        self._state = ActivityState(bus, activity_id)
        self._batches: dict[str, Batch] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping: asyncio.Future[None] | None = None
        self._final_usage: list[float] | None = None

    # ---- life

    async def start(self) -> None:
        """Offers the service on the bus, reports the state `Initialized`, and from then on reports usage every second.

        Raises ServiceBusError.
        """
        await self._bus.register(self._address, self._handle)
        await self._state.set("Initialized")
        self._spawn(self._keep_reporting())

    async def stop(self, reason: str = INTERRUPTED) -> None:
        """Kills all programs, reports the state `Terminated` with `reason`, and deletes the activity's folder.

        May be called more than once.
        """
        if self._stopping is None:
            self._stopping = asyncio.ensure_future(self._stop(reason))
        await asyncio.shield(self._stopping)

    async def _stop(self, reason: str) -> None:
        done = [batch for batch in self._batches.values() if batch.done == len(batch.commands)]
        report = {
            "batches_done": len(done),
            "batches_pending": len(self._batches) - len(done),
            "cmds_done": sum(batch.done for batch in self._batches.values()),
            "cmds_pending": sum(len(batch.commands) - batch.done for batch in self._batches.values()),
        }
        state = self._state.pair[0]
        with contextlib.suppress(ServiceBusError):
            await self._state.set(state, "Terminated")
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._runtime.close()
        self._final_usage = self.usage()
        with contextlib.suppress(ServiceBusError):
            await self.report_usage()
        with contextlib.suppress(ServiceBusError):
            reason = f"{reason}: {json.dumps(report, separators=(',', ':'))}"
            await self._state.set("Terminated", reason=reason)
        with contextlib.suppress(ServiceBusError):
            await self._bus.unregister(self._address)

    def usage(self) -> list[float]:
        """Returns the agreement's counters: as they are now, or as they were when the exe-unit stopped."""
        return self._final_usage or self._usage.vector(self._counters)

    async def report_usage(self) -> None:
        """Reports the usage to the daemon once. Raises ServiceBusError."""
        usage = {"currentUsage": self.usage(), "timestamp": int(time.time())}
        message = {"activityId": self.activity_id, "usage": usage, "timeout": None}
        await self._bus.call("/local/activity/SetActivityUsage", message, timeout=10)

    async def _keep_reporting(self) -> None:
        while True:
            try:
                await self.report_usage()
            except ServiceBusError as error:
                logger.warning("usage of activity %s could not be reported: %s", self.activity_id, error)
            await asyncio.sleep(USAGE_INTERVAL)

    def _spawn(self, coroutine: Awaitable[None]) -> None:
        task = asyncio.ensure_future(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # ---- the service

    def _handle(self, caller: str, address: str, message: object) -> Awaitable[object] | AsyncIterator[object]:
        name = address.rpartition("/")[2]
        if not isinstance(message, Mapping):
            raise ServiceBusFault({"badRequest": f"{name} takes an object"})
        # the fields of a stream request are in snake case, all others in camel case
        activity = message.get("activityId", message.get("activity_id"))
        if activity != self.activity_id:
            raise ServiceBusFault({"service": f"Forbidden! Invalid activity id: {activity}"})
        if name == "StreamExecBatchResults":
            return self._batch(message.get("batch_id")).events()
        handlers = {
            "Exec": self._exec,
            "GetExecBatchResults": self._results,
            "GetRunningCommand": self._running_command,
            "GetActivityState": self._get_state,
            "GetActivityUsage": self._get_usage,
        }
        if name not in handlers:
            raise ServiceBusFault({"badRequest": f"an exe-unit knows no {name}"})
        return handlers[name](message)

    def _batch(self, batch_id: object) -> Batch:
        batch = self._batches.get(str(batch_id))
        if batch is None:
            raise ServiceBusFault({"notFound": f"batch_id = {batch_id}"})
        return batch

    async def _exec(self, message: Mapping[str, Any]) -> str:
        batch_id = str(message["batchId"])
        if batch_id in self._batches:
            raise ServiceBusFault({"badRequest": f"Batch {batch_id} already exists"})
        try:
            commands = tuple(Command.parse(item) for item in message["exeScript"])
        except (ValueError, TypeError, AttributeError) as error:
            raise ServiceBusFault({"badRequest": str(error)}) from error
        self._fault.receives([command.kind for command in commands])
        batch = self._batches[batch_id] = Batch(batch_id, commands)
        self._spawn(self._run_batch(batch))
        return batch_id

    async def _results(self, message: Mapping[str, Any]) -> list[dict[str, Any]]:
        batch = self._batch(message.get("batchId"))
        if not batch.commands:
            return []
        index = message.get("commandIndex")
        awaited = len(batch.commands) - 1 if index is None else int(index)
        if not await batch.wait_for(awaited, float(message.get("timeout") or 0)) and index is not None:
            raise ServiceBusFault("timeout")
        return batch.results(index)

    async def _running_command(self, message: Mapping[str, Any]) -> list[dict[str, Any]]:
        running = [command.as_state() for batch in self._batches.values() if (command := batch.running())]
        if not running:
            raise ServiceBusFault({"notFound": f"No running command within activity: {self.activity_id}"})
        return running

    async def _get_state(self, message: Mapping[str, Any]) -> dict[str, Any]:
        return {"state": list(self._state.pair)}

    async def _get_usage(self, message: Mapping[str, Any]) -> dict[str, Any]:
        return {"currentUsage": self.usage(), "timestamp": int(time.time())}

    # ---- running commands

    async def _run_batch(self, batch: Batch) -> None:
        for index, command in enumerate(batch.commands):
            if batch.stopped:
                break
            await batch.started(index)
            return_code, text = 0, None
            try:
                if command.kind == "sign":
                    raise CommandFailed("signing not supported: binary built without the 'sgx' feature")
                if command.kind == "terminate":
                    await self._terminate(batch)
                else:
                    await self._execute(batch, index, command)
            except CommandFailed as failure:
                return_code, text = failure.return_code, str(failure)
            except Exception as error:  # an error in our own code must not leave the requestor waiting
                logger.exception("%s failed", command.kind)
                return_code, text = -1, f"Runtime error: {error}"
            await batch.finished(index, return_code, text)
            if return_code != 0:
                break
        await batch.end()

    async def _execute(self, batch: Batch, index: int, command: Command) -> None:
        entered = self._state.enter(command.kind)
        before = (self._state.pair[0], entered)
        await self._state.set(*before)
        try:
            if command.kind == "deploy":
                await self._deploy(batch, index, command.arguments)
            elif command.kind == "start":
                await self._runtime_call(self._runtime.start(command.arguments.get("args") or ()))
            elif command.kind == "transfer":
                await self._transfer(batch, index, command.arguments)
            else:
                await self._run(batch, index, command.arguments)
        finally:
            self._state.expect(before)
            await self._state.set(entered)  # the state advances even if the command failed

    async def _terminate(self, batch: Batch) -> None:
        for other in self._batches.values():
            other.stopped = other.stopped or other is not batch
        await self._runtime.stop()
        await self._state.set("Initialized")

    async def _deploy(self, batch: Batch, index: int, arguments: Mapping[str, Any]) -> None:
        try:
            image = await self._image(self._on_message(batch, index, arguments))
            printed, volumes = self._runtime.deploy(arguments.get("volumes"), image)
        except TransferFailed as error:
            raise CommandFailed(f"Local service error: Transfer error: {error}") from error
        except DeploymentRefused as error:
            batch.output(index, "stderr", f"{error}\n".encode())
            code = error.exit_code
            raise CommandFailed(f"ExeScript command exited with code {code}", code) from error
        batch.output(index, "stdout", printed)
        self._transfers.volumes = Volumes(volumes)

    async def _image(self, on_message: OnMessage) -> UnpackedImage | None:
        """Returns the demand's image, in which tasks run; None if they run on this machine's own system."""
        images = self._machine.images
        if images is None:
            if self._package is not None:
                await self._transfers.image(self._package, self._cache, on_message)
            return None
        if self._package is None:
            raise DeploymentRefused("the demand names no image")
        try:
            return await images.fetch(self._package, partial(self._transfers.image, on_message=on_message))
        except ImageError as error:
            raise DeploymentRefused(str(error)) from error

    async def _transfer(self, batch: Batch, index: int, arguments: Mapping[str, Any]) -> None:
        source, destination = str(arguments.get("from", "")), str(arguments.get("to", ""))
        try:
            moved = await self._transfers.transfer(source, destination, self._on_message(batch, index, arguments))
        except TransferFailed as error:
            raise CommandFailed(f"Local service error: Transfer error: {error}") from error
        if arguments.get("progress") is not None:
            batch.progress(index, None, moved, moved)

    async def _run(self, batch: Batch, index: int, arguments: Mapping[str, Any]) -> None:
        entry_point = str(arguments.get("entry_point", ""))
        args = [str(argument) for argument in arguments.get("args") or ()]
        code = await self._runtime_call(
            self._fault.run(
                ProgramRun((entry_point, *args), self._transfers.volumes.folders),
                lambda: self._runtime.run(
                    entry_point,
                    args,
                    lambda data: batch.output(index, "stdout", data),
                    lambda data: batch.output(index, "stderr", data),
                ),
            )
        )
        if code:
            raise CommandFailed(f"ExeScript command exited with code {code}", code)

    @staticmethod
    async def _runtime_call(call: Awaitable[int | None]) -> int:
        try:
            return await call or 0
        except RuntimeFailed as error:
            raise CommandFailed(f"Runtime error: {error}") from error

    @staticmethod
    def _on_message(batch: Batch, index: int, arguments: Mapping[str, Any]) -> Any:
        if arguments.get("progress") is None:
            return lambda message: None
        return lambda message: batch.progress(index, message)
