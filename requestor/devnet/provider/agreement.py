"""Runs one approved agreement, as Golem's provider agent does (yagna `agent/provider/src/tasks`).

    Initialized → Computing ⇄ Idle → Closed | Broken

An agreement has one activity at a time. The provider breaks it with a termination code: at its expiration, after 90 s
without an activity, or at a missed debit-note deadline.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from requestor.devnet.exe_unit import ExeUnit
from requestor.devnet.faults import Fault
from requestor.devnet.provider.billing import Billing, PaymentTerms
from requestor.devnet.provider.rest import ProviderRest
from requestor.errors import DaemonRefused, GolemError
from requestor.golem import growing_pauses, property_names, retry_until_success
from requestor.golem.bus import ServiceBus
from requestor.vm import HOST_MACHINE, TaskMachine

IDLE_SECONDS = 90.0
_FIRST_PAUSE, _PAUSE_FACTOR, _LONGEST_PAUSE = 5.0, 1.5, 3600.0  # seconds between attempts to terminate

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Host:
    """Holds everything that the agreements of one provider share.

    `folder` holds the activities and the cache of images. `idle_seconds` is the time without an activity after which an
    agreement is broken; `debit_note_interval` is in seconds, for agreements that do not name one.
    """

    rest: ProviderRest
    bus: ServiceBus
    folder: Path
    fault: Fault
    idle_seconds: float = IDLE_SECONDS
    debit_note_interval: float = 120.0
    machine: TaskMachine = HOST_MACHINE


class AgreementTask:
    """Serves one approved agreement, and calls `on_change` whenever its state has changed.

    `invoiced` is set when the invoice has been sent.
    """

    def __init__(self, agreement: Mapping[str, Any], host: Host, on_change: Callable[[AgreementTask], None]) -> None:
        self.agreement_id = str(agreement["agreementId"])
        self.state = "Initialized"
        self.invoiced = asyncio.Event()
        demand, offer = agreement["demand"]["properties"], agreement["offer"]["properties"]
        self._host, self._on_change = host, on_change
        self._package: str | None = demand.get(property_names.TASK_PACKAGE)
        self._counters: list[str] = offer[property_names.USAGE_VECTOR]
        self._multi_activity = bool(demand.get(property_names.MULTI_ACTIVITY, False))
        self._expires = demand[property_names.EXPIRATION] / 1000
        terms = PaymentTerms.of_agreement(agreement, host.debit_note_interval)
        self.billing = Billing(
            host.rest,
            self.agreement_id,
            time.time(),
            terms,
            host.fault,
            self.break_,
        )
        self._unit: ExeUnit | None = None
        self._notes: asyncio.Task[None] | None = None
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._activity = asyncio.Lock()  # held while an activity is created or destroyed

    @property
    def active(self) -> bool:
        """Returns whether the agreement holds the provider's slot."""
        return self.state not in ("Closed", "Broken")

    def begin(self) -> None:
        """Starts the timers: the expiration, and the wait for a first activity."""
        self._set_timer("expiration", self._expires - time.time(), "Expired", "Agreement expired.")
        self._wait_for_activity()

    def create_activity(self, activity_id: str) -> None:
        """Creates the activity that the requestor asked for."""
        self._spawn(self._create(activity_id))

    def destroy_activity(self, activity_id: str) -> None:
        """Ends an activity, because the requestor or the daemon asked for it."""
        self._spawn(self._destroy(activity_id))

    def close(self) -> None:
        """Closes the agreement after the requestor has terminated it."""
        if self.active:
            self._end("Closed")
            self._spawn(self._wind_up())

    def break_(self, code: str, message: str) -> None:
        """Terminates the agreement from the provider's side, with a termination code; does nothing if it has ended."""
        if self.active:
            logger.warning("breaking agreement %s: %s (%s)", self.agreement_id, code, message)
            self._end("Broken")
            self._spawn(self._terminate(code, message))
            self._spawn(self._wind_up())

    async def shut_down(self) -> None:
        """Breaks the agreement and kills its programs, because the agent is stopping.

        Does not wait until the termination and the last bills are sent.
        """
        unit = self._unit
        self.break_("Shutdown", "Provider is shutting down.")
        if unit is not None:
            await unit.stop()

    # ---- activities

    async def _create(self, activity_id: str) -> None:
        async with self._activity:
            if not self.active or self.state == "Computing":
                state = {
                    "state": ["Terminated", None],
                    "reason": "Only single Activity allowed",
                    "errorMessage": "Can't create 2 simultaneous Activities.",
                }
                await self._host.rest.set_activity_state(activity_id, state)
                return
            self._set_state("Computing")
            self._cancel_timer("idle")
            folder = self._host.folder / "activities" / activity_id
            folder.mkdir(parents=True)
            self._unit = unit = ExeUnit(
                self._host.bus,
                activity_id,
                folder=folder,
                cache=self._host.folder / "cache",
                package=self._package,
                counters=self._counters,
                fault=self._host.fault,
                machine=self._host.machine,
            )
            try:
                await unit.start()
            except GolemError as error:
                self.break_("InitializationError", f"The exe-unit could not be started: {error}")
                return
            logger.info("activity %s created", activity_id)
            self._notes = asyncio.ensure_future(self.billing.charge(activity_id, unit.usage))

    async def _destroy(self, activity_id: str) -> None:
        async with self._activity:
            if self._unit is None or self._unit.activity_id != activity_id:
                return
            await self._finish(self._unit)
            if not self.active:
                return
            self._set_state("Idle")
            if self._multi_activity:
                self._wait_for_activity()
            else:
                self._end("Closed")
                self._spawn(self._terminate("Success", "Finished single activity."))
                self._spawn(self._wind_up())

    async def _finish(self, unit: ExeUnit) -> None:
        if self._notes is not None:
            self._notes.cancel()
        await unit.stop()
        self._unit = None
        logger.info("activity %s destroyed", unit.activity_id)
        await self.billing.final_note(unit.activity_id, unit.usage())

    # ---- the end

    def _end(self, state: str) -> None:
        for name in list(self._timers):
            self._cancel_timer(name)
        self.billing.stop()
        self._set_state(state)

    def _set_state(self, state: str) -> None:
        self.state = state
        self._on_change(self)

    async def _wind_up(self) -> None:
        async with self._activity:
            if self._unit is not None:
                await self._finish(self._unit)
        await self.billing.invoice()
        self.invoiced.set()

    async def _terminate(self, code: str, message: str) -> None:
        async def attempt() -> None:
            try:
                reason = {"message": message, "golem.provider.code": code}
                await self._host.rest.terminate_agreement(self.agreement_id, reason)
            except DaemonRefused as error:
                if error.status not in (404, 410):  # with these codes, the requestor was faster
                    raise

        def warn(error: GolemError, pause: float) -> None:
            logger.warning("agreement %s could not be terminated: %s; again in %.0f s", self.agreement_id, error, pause)

        pauses = growing_pauses(_FIRST_PAUSE, _PAUSE_FACTOR, _LONGEST_PAUSE)
        await retry_until_success(attempt, GolemError, pauses, warn)

    # ---- clocks and tasks

    def _wait_for_activity(self) -> None:
        seconds = self._host.idle_seconds
        self._set_timer("idle", seconds, "NoActivity", f"No activity created within {seconds:g}s.")

    def _set_timer(self, name: str, seconds: float, code: str, message: str) -> None:
        self._cancel_timer(name)
        loop = asyncio.get_running_loop()
        self._timers[name] = loop.call_later(max(0.0, seconds), self.break_, code, message)

    def _cancel_timer(self, name: str) -> None:
        if name in self._timers:
            self._timers.pop(name).cancel()

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.error("agreement %s: %s", self.agreement_id, task.exception(), exc_info=task.exception())
