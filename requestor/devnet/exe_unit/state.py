"""Keeps the state of an activity, as its exe-unit reports it to the daemon (yagna's `state.rs`)."""

from __future__ import annotations

from typing import Any

from requestor.devnet.exe_unit.batch import CommandFailed
from requestor.golem.bus import ServiceBus

StatePair = tuple[str, str | None]  # the state, and the state that is being entered


class ActivityState:
    """Holds the state of one activity, which begins as `New`. Reports each change before the caller goes on."""

    def __init__(self, bus: ServiceBus, activity_id: str) -> None:
        self._bus, self._activity_id = bus, activity_id
        self.pair: StatePair = ("New", None)

    async def set(self, state: str, pending: str | None = None, reason: str | None = None) -> None:
        """Changes the state and reports it; does nothing if the state stays the same. Raises ServiceBusError."""
        if self.pair == (state, pending):
            return
        self.pair = (state, pending)
        report: dict[str, Any] = {"state": [state, pending]}
        if reason is not None:
            report["reason"] = reason
        message = {"activityId": self._activity_id, "state": report, "timeout": None, "credentials": None}
        await self._bus.call("/local/activity/SetActivityState", message, timeout=10)

    def enter(self, kind: str) -> str:
        """Returns the state to which a command of this kind leads.

        Raises CommandFailed if the command is not allowed now.
        """
        state, pending = self.pair
        if pending is not None:
            raise CommandFailed(f"Local service error: State error: Busy: {_debug(self.pair)}")
        if state == "Initialized" and kind == "deploy":
            return "Deployed"
        if state == "Deployed" and kind == "start":
            return "Ready"
        if state == "Ready" and kind in ("run", "transfer"):
            return "Ready"
        expected = {
            "Initialized": "Activity is initialized - deploy() command is expected now",
            "Deployed": "Activity is deployed - start() command is expected now",
            "Ready": "Cannot send command after a successful start()",
        }.get(state, f"This command is not allowed when activity is in the {state} state")
        raise CommandFailed(f"Local service error: State error: {expected}")

    def expect(self, pair: StatePair) -> None:
        """Checks that the state is `pair`. Raises CommandFailed if another batch has changed it meanwhile."""
        if self.pair != pair:
            raise CommandFailed(
                f"Local service error: State error: Unexpected state: {_debug(self.pair)}, expected {_debug(pair)}"
            )


def _debug(state: StatePair) -> str:
    """Returns the pair as Rust prints it in its messages."""
    pending = f"Some({state[1]})" if state[1] is not None else "None"
    return f"StatePair({state[0]}, {pending})"
