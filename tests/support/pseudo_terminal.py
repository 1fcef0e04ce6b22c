"""Runs a program in a pseudo-terminal of its own, as a person would: with Ctrl-C, and with a window that is closed."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

COMMAND = (sys.executable, "-m", "requestor.commands.main")


class PseudoTerminal:
    """The terminal of one program, which leads a session: Ctrl-C reaches every process of its group.

    process: the program.
    """

    def __init__(self, process: subprocess.Popen[bytes], keyboard: int) -> None:
        self.process = process
        self._keyboard = keyboard
        self._shown = bytearray()
        self._closing = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @classmethod
    @contextmanager
    def running(
        cls,
        arguments: Sequence[str],
        folder: Path,
        environment: Mapping[str, str] | None = None,
        program: Sequence[str] = COMMAND,
    ) -> Iterator[PseudoTerminal]:
        """Runs `nima-golem`, or another program, with arguments in a folder; kills it at the end if it still runs."""
        keyboard, screen = pty.openpty()
        process = subprocess.Popen(
            [*program, *arguments], cwd=folder, env={**os.environ, **(environment or {})},
            stdin=screen, stdout=screen, stderr=screen, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip
        os.close(screen)
        terminal = cls(process, keyboard)
        try:
            yield terminal
        finally:
            process.kill()
            process.wait()
            terminal.close()

    @property
    def shown(self) -> str:
        """Returns all that was written to the terminal so far, without carriage returns."""
        return bytes(self._shown).decode(errors="replace").replace("\r", "")

    def wait_for(self, text: str, seconds: float = 120) -> None:
        """Waits until a text was written."""
        deadline = time.monotonic() + seconds
        while text not in self.shown:
            assert self.process.poll() is None, self.shown[-2000:]
            assert time.monotonic() < deadline, self.shown[-2000:]
            time.sleep(0.02)

    def press_ctrl_c(self) -> None:
        """Presses Ctrl-C."""
        os.write(self._keyboard, b"\x03")

    def close(self) -> None:
        """Closes the terminal: the kernel sends SIGHUP."""
        if not self._closing.is_set():
            self._closing.set()
            self._reader.join()
            os.close(self._keyboard)

    def exit_code(self, seconds: float = 150) -> int:
        """Waits for the end of the program; returns its exit code."""
        return self.process.wait(seconds)

    def _read(self) -> None:
        while not self._closing.is_set():
            if select.select([self._keyboard], [], [], 0.05)[0]:
                try:
                    self._shown += os.read(self._keyboard, 65536)
                except OSError:  # the last process of the terminal has ended
                    return
