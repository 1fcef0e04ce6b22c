"""Runs a provider's agent: offers its machine on the market of its daemon, signs agreements, and serves them.

`python -m requestor.devnet.provider.agent CONFIG.json` runs it until SIGTERM; `CONFIG.json` is an `AgentSettings`. It
ends with an error if the daemon ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from nima.safe_io import write_atomically
from requestor.devnet.faults import make_fault
from requestor.devnet.provider.agreement import IDLE_SECONDS, AgreementTask, Host
from requestor.devnet.provider.negotiation import Counter, Reject, Terms, negotiate, review
from requestor.devnet.provider.offer import Hardware, constraints, properties
from requestor.devnet.provider.pricing import LinearPricing
from requestor.devnet.provider.rest import ProviderRest
from requestor.errors import DaemonRefused, GolemError, RequestorError
from requestor.golem.bus import ServiceBus
from requestor.vm import ImageCache, TaskMachine

_POLL_SECONDS = 20.0
_ACTIVITY_POLL_SECONDS = 3.0
_APPROVAL_SECONDS = 10.0
_PAUSE_SECONDS = 1.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class AgentSettings:
    """Holds the provider's identity, prices and limits.

    Attributes:
        name, subnet: as the offer names them.
        platform: payment platform, such as `erc20-hoodi-tglm`.
        api_url, gsb_url, app_key: addresses and key of its daemon.
        folder: its working folder: activities, cache, and `agent.json`, which tells its state.
        coefficients: prices in GLM: per CPU second, per second, per activity.
        terms: the limits with which it negotiates.
        idle_seconds: time without an activity after which it breaks an agreement.
        fault: name of its fault, as `parse_faults` returns it; empty for an honest provider.
        images: folder of the `ImageCache` with the images of tasks; if empty, tasks run on the host's own system.
        image_environment: True if programs get the image's ENV.
        threads, memory_gib: the resources that it offers; 0 for those of the host.
        overhead: CPU time that its VM takes beside the tasks' programs, as a share of theirs.
    """

    name: str
    subnet: str
    platform: str
    api_url: str
    gsb_url: str
    app_key: str
    folder: str
    coefficients: tuple[float, ...]
    terms: Terms = field(default_factory=Terms)
    idle_seconds: float = IDLE_SECONDS
    fault: str = ""
    images: str = ""
    image_environment: bool = False
    threads: int = 0
    memory_gib: float = 0.0
    overhead: float = 0.0

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> AgentSettings:
        """Makes settings of a JSON object. Raises KeyError or TypeError if fields are missing or unknown."""
        terms = Terms(**value.get("terms", {}))
        return cls(**{**value, "coefficients": tuple(value["coefficients"]), "terms": terms})

    @classmethod
    def load(cls, path: Path) -> AgentSettings:
        """Reads settings from a file that `save` wrote."""
        return cls.from_json(json.loads(path.read_text()))

    def save(self, path: Path) -> None:
        """Writes the settings to `path` as JSON."""
        path.touch(mode=0o600)  # for the owner only, because the file holds the app key
        path.write_text(json.dumps(asdict(self), indent=2))


class Agent:
    """Acts as one provider: answers demands, signs agreements, and serves them."""

    def __init__(self, settings: AgentSettings, rest: ProviderRest, bus: ServiceBus, node_id: str) -> None:
        self._settings, self._rest = settings, rest
        folder = Path(settings.folder)
        self._report = folder / "agent.json"
        self._fault = make_fault(settings.fault, folder)
        hardware = Hardware.of_host(folder)
        hardware = replace(
            hardware,
            threads=settings.threads or hardware.threads,
            memory_gib=settings.memory_gib or hardware.memory_gib,
        )
        machine = TaskMachine(
            images=ImageCache(Path(settings.images)) if settings.images else None,
            image_environment=settings.image_environment,
            memory=int(hardware.memory_gib * 2**30),
            threads=hardware.threads,
            overhead=settings.overhead,
        )
        interval = settings.terms.debit_note_interval
        self._host = Host(rest, bus, folder, self._fault, settings.idle_seconds, interval, machine)
        self._properties = properties(
            name=settings.name,
            subnet=settings.subnet,
            platform_name=settings.platform,
            address=node_id,
            pricing=LinearPricing(settings.coefficients),
            terms=settings.terms,
            hardware=hardware,
        )
        self._constraints = constraints(settings.subnet, time.time())
        self._offer_id = ""
        self._ours: dict[str, dict[str, Any]] = {}  # our proposals by id; each begins as a copy of our previous one
        self._refused: dict[str, Mapping[str, Any]] = {}  # demands that are answered again when a slot is free
        self._rejection = ""  # reason of the last demand or agreement that was rejected
        self._agreements: dict[str, AgreementTask] = {}
        self._looking_again: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Serves until it is cancelled. Raises GolemError if the daemon has ended."""
        self._offer_id = await self._rest.publish_offer(self._properties, self._constraints)
        self._tell()
        loops = [
            self._market(),
            self._follow(self._rest.activity_events, _ACTIVITY_POLL_SECONDS, self._on_activity_event),
            self._follow(self._rest.agreement_events, _POLL_SECONDS, self._on_agreement_event),
            self._follow(self._rest.debit_note_events, _POLL_SECONDS, self._on_debit_note_event),
            self._bus_lost(),
        ]
        tasks = [asyncio.ensure_future(loop) for loop in loops]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    async def shut_down(self) -> None:
        """Breaks all active agreements and kills their tasks, because the agent is stopping."""
        await asyncio.gather(*(task.shut_down() for task in self._active()), return_exceptions=True)

    def _active(self) -> list[AgreementTask]:
        return [task for task in self._agreements.values() if task.active]

    async def _bus_lost(self) -> None:
        raise GolemError(f"The service bus of {self._settings.name} was lost: {await self._host.bus.wait_closed()}.")

    # ---- negotiation

    async def _market(self) -> None:
        while True:
            try:
                events = await self._rest.offer_events(self._offer_id, _POLL_SECONDS)
            except GolemError as error:
                if isinstance(error, DaemonRefused) and error.status == 404:
                    logger.info("the offer has expired; publishing it again")
                    self._offer_id = await self._rest.publish_offer(self._properties, self._constraints)
                else:
                    await self._pause(error)
                continue
            for event in events:
                try:
                    await self._on_market_event(event)
                except GolemError as error:
                    logger.warning("%s", error)

    @staticmethod
    async def _pause(error: GolemError) -> None:
        """Waits after a request that failed. If the daemon is gone for good, the service bus reports it."""
        logger.warning("%s", error)
        await asyncio.sleep(_PAUSE_SECONDS)

    async def _on_market_event(self, event: Mapping[str, Any]) -> None:
        if event["eventType"] == "ProposalEvent":
            await self._on_proposal(event["proposal"])
        elif event["eventType"] == "AgreementEvent":
            await self._on_agreement(event["agreement"])
        elif event["eventType"] == "ProposalRejectedEvent":
            logger.info("our proposal %s was rejected: %s", event["proposalId"], event.get("reason"))

    async def _on_proposal(self, proposal: Mapping[str, Any]) -> None:
        proposal_id = proposal["proposalId"]
        template = self._ours.get(proposal.get("prevProposalId") or "", self._properties)
        answer = negotiate(proposal["properties"], template, self._settings.terms, time.time(), len(self._active()))
        if isinstance(answer, Counter):
            ours = await self._rest.counter(self._offer_id, proposal_id, answer.properties, self._constraints)
            self._ours[ours] = answer.properties
        elif isinstance(answer, Reject):
            logger.info("demand %s rejected: %s", proposal_id, answer.message)
            self._rejection = answer.message
            self._tell()
            if not answer.final:
                self._refused[proposal_id] = proposal
            await self._rest.reject_proposal(self._offer_id, proposal_id, answer.reason())
        else:
            logger.warning("demand %s is left unanswered: %s", proposal_id, answer.reason)

    async def _on_agreement(self, agreement: Mapping[str, Any]) -> None:
        agreement_id = str(agreement["agreementId"])
        demand, offer = agreement["demand"]["properties"], agreement["offer"]["properties"]
        answer = review(demand, offer, self._settings.terms, time.time(), len(self._active()))
        if not isinstance(answer, Counter):
            reject = answer if isinstance(answer, Reject) else Reject(answer.reason, final=True)
            logger.info("agreement %s rejected: %s", agreement_id, reject.message)
            self._rejection = reject.message
            self._tell()
            await self._rest.reject_agreement(agreement_id, reject.reason())
            return
        if not self._fault.signs():
            logger.info("agreement %s is left unanswered", agreement_id)
            return
        task = self._agreements[agreement_id] = AgreementTask(agreement, self._host, self._on_change)
        try:
            await self._rest.approve_agreement(agreement_id, _APPROVAL_SECONDS)
        except GolemError:
            del self._agreements[agreement_id]
            raise
        logger.info("agreement %s approved", agreement_id)
        task.begin()
        self._tell()

    def _on_change(self, task: AgreementTask) -> None:
        self._tell()
        if task.active:
            return
        refused, self._refused = self._refused, {}
        for proposal in refused.values():
            task_again = asyncio.ensure_future(self._look_again(proposal))
            self._looking_again.add(task_again)
            task_again.add_done_callback(self._looking_again.discard)

    async def _look_again(self, proposal: Mapping[str, Any]) -> None:
        with contextlib.suppress(GolemError):  # the requestor may have ended long ago
            await self._on_proposal(proposal)

    # ---- what happens to agreements

    def _on_activity_event(self, event: Mapping[str, Any]) -> None:
        task = self._agreements.get(event["agreementId"])
        if task is None:
            return
        kind = event["eventType"]
        if kind == "CreateActivity" or (isinstance(kind, Mapping) and "CreateActivity" in kind):
            task.create_activity(event["activityId"])
        else:
            task.destroy_activity(event["activityId"])

    def _on_agreement_event(self, event: Mapping[str, Any]) -> None:
        task = self._agreements.get(event["agreementId"])
        if task and event["eventType"] == "AgreementTerminatedEvent" and event["terminator"] == "Requestor":
            logger.info("agreement %s was terminated by the requestor", task.agreement_id)
            task.close()

    def _on_debit_note_event(self, event: Mapping[str, Any]) -> None:
        for task in self._agreements.values():
            task.billing.handle_event(event)

    async def _follow(
        self,
        events: Callable[[str, float], Awaitable[list[dict[str, Any]]]],
        timeout: float,
        handle: Callable[[Mapping[str, Any]], None],
    ) -> None:
        """Passes every event that happens from now on to `handle`, each event once."""
        after, seen = datetime.now(timezone.utc).isoformat(), set[str]()
        while True:
            try:
                found = await events(after, timeout)
            except GolemError as error:
                await self._pause(error)
                continue
            for event in found:
                key = json.dumps(event, sort_keys=True)
                if key not in seen:
                    seen.add(key)
                    handle(event)
                after = max(after, event["eventDate"])

    def _tell(self) -> None:
        """Writes the state for `devnet status`, and for the network, which waits until the provider offers itself."""
        states = [task.state for task in self._active()]
        report = {
            "state": states[0].lower() if states else "idle",
            "agreements": len(self._agreements),
            "pid": os.getpid(),
            "rejection": self._rejection,
        }
        write_atomically(self._report, json.dumps(report).encode(), durable=False)


async def _main(settings: AgentSettings) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with (
        ProviderRest(settings.api_url, settings.app_key) as rest,
        await ServiceBus.connect(settings.gsb_url, name=f"agent-{settings.name}") as bus,
    ):
        agent = Agent(settings, rest, bus, await rest.identity())
        running = asyncio.ensure_future(agent.run())
        await asyncio.wait({running, asyncio.ensure_future(stopped.wait())}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            running.result()
        running.cancel()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(agent.shut_down(), 3)


def main() -> None:
    """Runs `python -m requestor.devnet.provider.agent CONFIG.json`."""
    if len(sys.argv) != 2:
        raise SystemExit("usage: python -m requestor.devnet.provider.agent CONFIG.json")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    settings = AgentSettings.load(Path(sys.argv[1]))
    try:
        asyncio.run(_main(settings))
    except RequestorError as error:
        raise SystemExit(f"The agent of {settings.name} ends: {error}") from error


if __name__ == "__main__":
    main()
