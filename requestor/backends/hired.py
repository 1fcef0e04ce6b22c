"""Describes a hired provider: its activity, the files that it holds, its time, and the failures that it may report."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

from nima.safe_io import one_line
from nima.wire import EXIT_VERSION_MISMATCH, WEIGHTS_FILE
from requestor.backends.base import Provider, Task
from requestor.golem import GolemConnection
from requestor.image import JOBS_FOLDER, STORE_FOLDER
from requestor.planning import START_SECONDS, Upload

LAST_SECONDS = 60.0  # time at the end of an agreement in which no task is computed
_MOST_LINES = 100  # number of lines at the end of a program's stderr among which a line with text is looked for


@dataclass(frozen=True)
class GolemSettings:
    """Holds the values that the Golem backend demands on the market, and the account that pays.

    Attributes:
        connection: the requestor's daemon and payment network.
        subnet: only providers of this subnet are hired.
        image: the task package of the provider image, `hash:sha3:<hash>:<url>`.
        image_checked: True if the image is known by its labels to be of this version.
        image_models: SHA-256 of each model that the image contains; these models are not sent.
        python: absolute path of the image's Python, which can import `provider_image`.
        max_price: the most GLM that the first hour of one provider may cost at full load, start fee included.
        environment: variables for yapapi's own `gftp` process (GSB_URL, PATH).
    """

    connection: GolemConnection
    subnet: str
    image: str
    image_checked: bool
    image_models: tuple[str, ...]
    python: str
    max_price: Decimal
    environment: Mapping[str, str]


class WorkContext(Protocol):
    """Describes the part of yapapi's `WorkContext` that is used: one activity, which runs scripts."""

    @property
    def id(self) -> str:
        """Returns the id of the activity."""

    def new_script(self, timeout: timedelta) -> Any:
        """Returns a new script; commands are added to it, then it is yielded to yapapi."""

    async def get_cost(self) -> float | None:
        """Returns the cost so far in GLM, as the provider reports it; None if it reports none."""


@dataclass(frozen=True)
class CommandFailure:
    """A failed command of a script; its activity can still be used.

    message: the daemon's message, in one printable line.
    last_line: the last line of the program's stderr, printable; empty if it wrote none.
    """

    message: str
    last_line: str

    @classmethod
    def of(cls, message: str, stderr: str) -> CommandFailure:
        """Makes one from the message and the stderr as they came: both may hold anything."""
        lines = [line for line in map(one_line, stderr.splitlines()[-_MOST_LINES:]) if line]
        return cls(one_line(message), lines[-1][:400] if lines else "")

    @property
    def is_mismatch(self) -> bool:
        """Returns True if the provider's program says that it is of another version."""
        return self.message.endswith(f" exited with code {EXIT_VERSION_MISMATCH}")

    def __str__(self) -> str:
        if self.last_line and self.is_mismatch:
            return self.last_line
        return f"{self.message}: {self.last_line}" if self.last_line else self.message


@dataclass(frozen=True)
class OurFault:
    """A failure of this machine, its daemon or its file server: it says nothing about the provider.

    reason: the reason in words.
    """

    reason: str


@dataclass
class Hired:
    """A hired provider, whose activity runs.

    Attributes:
        provider: the provider.
        context: yapapi's context of its activity.
        agreement: id of its agreement.
        threads: number of threads that it offers, and bills.
        ends: Unix time in seconds at which its agreement ends by itself.
        deployed: True if our image runs there by now.
        accounted: GLM that its outcomes so far have cost, as the provider reported.
        held: names of the store files that the provider has.
        upload: the upload of its present attempt; None if the attempt sends no files, or has sent them.
    """

    provider: Provider
    context: WorkContext
    agreement: str
    threads: int
    ends: float
    deployed: bool = False
    accounted: Decimal = Decimal(0)
    held: set[str] = field(default_factory=set)
    upload: Upload | None = None

    def missing(self, task: Task) -> list[tuple[Path, str]]:
        """Returns the files that must be sent for a task: each file's path on this machine and on the provider."""
        files = [(path, f"{STORE_FOLDER}/{path.name}") for path in task.store if path.name not in self.held]
        if task.weights is not None:
            files.append((task.weights, f"{job_folder(task)}/{WEIGHTS_FILE}"))
        return files

    @property
    def seconds_left(self) -> float:
        """Returns the seconds in which a task must end, so that its files and the bill come before the agreement ends.

        It is the time by the clock, as the daemon and the provider go by it, too.
        """
        return self.ends - LAST_SECONDS - time.time()

    @property
    def seconds_for_task(self) -> float:
        """Returns the seconds of `seconds_left` that remain when the image runs."""
        return self.seconds_left - (0.0 if self.deployed else START_SECONDS)


def job_folder(task: Task) -> str:
    """Returns the path of a job's folder on a provider."""
    return f"{JOBS_FOLDER}/{task.job.job_id}"
