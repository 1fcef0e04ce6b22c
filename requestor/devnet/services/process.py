"""Supervises one child process of a devnet: writes its log, checks that it is ready, and lets nothing outlive it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from requestor.errors import DevnetError

# This program runs first: it asks Linux to kill the real program when the parent ends, and checks that the parent still
# runs.
_LEASH = (
    "import ctypes,os,sys;"
    "ctypes.CDLL(None,use_errno=True).prctl(1,9,0,0,0);"  # PR_SET_PDEATHSIG, SIGKILL
    "os.getppid()==int(sys.argv[1]) or sys.exit(1);"
    "os.execv(sys.argv[2],sys.argv[2:])"
)


def leashed(command: Sequence[str]) -> list[str]:
    """Returns a command that runs `command` (an absolute program and its arguments) and ends with its parent.

    This holds even if the parent is killed with SIGKILL. The command also ends with the thread that started it.
    """
    return [sys.executable, "-I", "-S", "-c", _LEASH, str(os.getpid()), *command]


class ChildProcess:
    """Runs a program until `stop`, or until this process ends.

    Args:
        name: the name that messages use.
        command: absolute program, then its arguments.
        log: the file to which stdout and stderr are appended.
        environment: the whole environment of the program; None: that of this process.
        folder: its working directory; None: that of this process.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> None:
        self.name = name
        self.command = list(command)
        self.log = log
        self.environment = environment
        self.folder = folder
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """Returns the process id; 0 before `start`."""
        return self._process.pid if self._process else 0

    @property
    def running(self) -> bool:
        """Returns whether the program was started and has not ended."""
        return self._process is not None and self._process.returncode is None

    async def start(self, ready: Callable[[], Awaitable[bool]] | None = None, *, timeout: float = 30.0) -> None:
        """Starts the program and waits until `ready` returns True.

        Raises:
            DevnetError: the program ends at once, or is not ready within `timeout` seconds; it is stopped then.
        """
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *leashed(self.command),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment,
                cwd=self.folder,
                start_new_session=True,  # Ctrl-C goes to the supervisor only, which then stops this program
            )
        if ready is None:
            return
        deadline = time.monotonic() + timeout
        try:
            while not await ready():
                if not self.running:
                    raise DevnetError(f"{self.name} ended with exit code {self._process.returncode}. {self._tail()}")
                if time.monotonic() > deadline:
                    raise DevnetError(f"{self.name} was not ready within {timeout:g} s. {self._tail()}")
                await asyncio.sleep(0.05)
        except BaseException:
            await self.stop(grace=1.0)
            raise

    async def wait(self) -> int:
        """Waits until the program has ended; returns its exit code, negative for a signal."""
        assert self._process is not None, "start it first"
        return await self._process.wait()

    async def stop(self, *, grace: float = 5.0) -> None:
        """Ends the program and what it started: SIGTERM, then after `grace` seconds SIGKILL."""
        if self._process is None:
            return
        if self.running:
            self._signal(signal.SIGTERM)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._process.wait(), grace)
        self._signal(signal.SIGKILL)  # all that is left of its process group
        await self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def _tail(self) -> str:
        """Returns the last lines of the log, for an error message."""
        lines = self.log.read_text(errors="replace").splitlines()[-3:]
        return f"See {self.log}" + (": " + " | ".join(line.strip() for line in lines) if lines else ".")
