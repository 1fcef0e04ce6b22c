"""Holds one batch of an exe-script: its commands, their results, and the events that a requestor may follow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from requestor.devnet.exe_unit.capture import CapturedOutput

KINDS = ("sign", "deploy", "start", "run", "transfer", "terminate")


class CommandFailed(Exception):
    """Says that a command has failed.

    `return_code` is that of its program, or -1 if the code does not come from a program.
    """

    def __init__(self, message: str, return_code: int = -1) -> None:
        super().__init__(message)
        self.return_code = return_code


@dataclass(frozen=True)
class Command:
    """Describes one command of an exe-script, `{kind: arguments}`, as it arrived."""

    kind: str
    arguments: Mapping[str, Any]

    @classmethod
    def parse(cls, item: object) -> Command:
        """Reads one command of an exe-script. Raises ValueError if `item` is not a command."""
        if not isinstance(item, Mapping) or len(item) != 1:
            raise ValueError(f"not a command: {item!r}")
        (kind, arguments), *_ = item.items()
        arguments = arguments or {}
        if kind not in KINDS or not isinstance(arguments, Mapping):
            raise ValueError(f"not a command: {item!r}")
        command = cls(kind, arguments)
        command.outputs()
        return command

    def outputs(self) -> tuple[CapturedOutput, CapturedOutput]:
        """Returns new, empty captures of stdout and stderr, which keep what the command asks for.

        Only `run` may ask for anything; the other commands keep all output. Raises ValueError if the capture mode is
        unknown.
        """
        if self.kind != "run":
            return CapturedOutput.everything(), CapturedOutput.everything()
        capture = self.arguments.get("capture") or {}
        return CapturedOutput.from_mode(capture.get("stdout")), CapturedOutput.from_mode(capture.get("stderr"))

    def as_json(self) -> dict[str, Any]:
        """Returns the command as it arrived, `{kind: arguments}`."""
        return {self.kind: dict(self.arguments)}

    def as_state(self) -> dict[str, Any]:
        """Returns the command as the answer to `GetRunningCommand` shows it."""
        arguments = self.arguments
        params = {
            "start": lambda: list(arguments.get("args") or ()),
            "run": lambda: [arguments.get("entry_point"), *(arguments.get("args") or ())],
            "transfer": lambda: [arguments.get("from"), arguments.get("to")],
        }.get(self.kind, lambda: None)()
        return {"command": self.kind.capitalize(), "progress": None, "params": params}


@dataclass
class _State:
    stdout: CapturedOutput
    stderr: CapturedOutput
    ok: bool | None = None  # None while it is running
    message: str | None = None
    date: datetime = field(default_factory=lambda: datetime.now(timezone.utc))


class Batch:
    """Holds a list of commands, which run in order, and their results so far."""

    def __init__(self, batch_id: str, commands: tuple[Command, ...]) -> None:
        self.batch_id, self.commands = batch_id, commands
        self.stopped = False  # set by a `terminate` in another batch: no further command is started
        self._states: list[_State] = []
        self._listeners: list[asyncio.Queue[dict[str, Any] | None]] = []
        self._ended = False
        self._changed = asyncio.Condition()

    # ---- reported by the exe-unit

    async def started(self, index: int) -> None:
        """Records that the command at `index` (from 0) has started, and tells the listeners."""
        command = self.commands[index]
        self._states.append(_State(*command.outputs()))
        self._tell(index, {"started": {"command": command.as_json()}})

    def output(self, index: int, stream: str, data: bytes) -> None:
        """Records output of a command; `stream` is `stdout` or `stderr`.

        The listeners get it, too, if the command asks for a stream.
        """
        captured: CapturedOutput = getattr(self._states[index], stream)
        shown = captured.write(data)
        if shown is not None and captured.streamed:
            self._tell(index, {stream: shown})

    def stdout(self, index: int) -> str | list[int] | None:
        """Returns what is kept of a command's stdout so far: text, a list of byte values, or None if it is empty."""
        return self._states[index].stdout.value()

    def progress(self, index: int, message: str | None, done: int = 0, total: int | None = None) -> None:
        """Tells the listeners that `done` of `total` bytes are transferred; `total` is None if it is unknown."""
        finished = int(total is not None and done == total)
        report = {"step": [finished, 1], "message": message, "progress": [done, total], "unit": "Bytes"}
        self._tell(index, {"progress": report})

    async def finished(self, index: int, return_code: int, message: str | None) -> None:
        """Records that a command has ended with `return_code`, where 0 is success, and tells the listeners."""
        state = self._states[index]
        state.ok, state.message, state.date = return_code == 0, message, datetime.now(timezone.utc)
        self._tell(index, {"finished": {"return_code": return_code, "message": message}})
        async with self._changed:
            self._changed.notify_all()

    async def end(self) -> None:
        """Ends the batch: no further command is started, and the listeners get no more events."""
        self._ended = True
        for listener in self._listeners:
            listener.put_nowait(None)

    def _tell(self, index: int, kind: dict[str, Any]) -> None:
        event = {"batch_id": self.batch_id, "index": index, "timestamp": _naive(_now()), "kind": kind}
        for listener in self._listeners:
            listener.put_nowait(event)

    # ---- asked by the requestor

    @property
    def done(self) -> int:
        """Returns the number of commands that have ended."""
        return sum(state.ok is not None for state in self._states)

    def running(self) -> Command | None:
        """Returns the command that is running; None if there is none."""
        if self._states and self._states[-1].ok is None:
            return self.commands[len(self._states) - 1]
        return None

    async def wait_for(self, index: int, timeout: float) -> bool:
        """Waits until the command at `index` has ended, up to `timeout` seconds; returns whether it has ended.

        If an earlier command fails, this command never ends, so the whole time is waited.
        """
        try:
            async with self._changed:
                await asyncio.wait_for(self._changed.wait_for(lambda: self.done > index), timeout)
        except asyncio.TimeoutError:
            return self.done > index
        return True

    def results(self, index: int | None) -> list[dict[str, Any]]:
        """Returns the results of the commands that have ended, up to `index` (None: all).

        With an index, only the output of that command is shown. As with yagna's exe-unit, the batch counts as finished
        at the requested index, even if more commands follow.
        """
        last = len(self.commands) - 1 if index is None else index
        results = []
        for position, state in enumerate(self._states[: last + 1]):
            if state.ok is None:
                break
            shown = index is None or position == index
            results.append(
                {
                    "index": position,
                    "result": "Ok" if state.ok else "Error",
                    "stdout": state.stdout.value() if shown else None,
                    "stderr": state.stderr.value() if shown else None,
                    "message": state.message,
                    "isBatchFinished": position == last or not state.ok,
                    "eventDate": _naive(state.date) + "Z",
                }
            )
        return results

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """Yields the events from now on, until the batch ends. Earlier events are not repeated."""
        if self._ended:
            return
        listener: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._listeners.append(listener)
        try:
            while (event := await listener.get()) is not None:
                yield event
        finally:
            self._listeners.remove(listener)


def _now() -> datetime:
    return datetime.now(timezone.utc)


def _naive(date: datetime) -> str:
    return date.replace(tzinfo=None).isoformat(timespec="microseconds")
