"""Remembers what a command could not release, for all commands of this user: the next one tries again.

One small file for each of them lies in the user's data folder, so that no lock is needed.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Literal

from nima.safe_io import data_folder, write_atomically
from requestor.errors import GolemError
from requestor.golem.networks import GolemConnection
from requestor.golem.wallet import Wallet
from requestor.money import show_glm

TRY_SECONDS = 3.0  # time limit of a request that another command makes on the way to its own work

logger = logging.getLogger(__name__)

Kind = Literal["allocation", "agreement"]


@dataclass(frozen=True)
class Leftover:
    """Describes what stays open with a daemon although its run has ended.

    Attributes:
        kind: an allocation, which keeps money reserved, or an agreement, under which a provider waits for us.
        id: its id.
        api_url: URL of its daemon.
        glm: the reserved amount as an exact text; empty for an agreement.
        until: Unix time in seconds at which it ends by itself.
        reason: the reason why it could not be released, as a sentence.
    """

    kind: Kind
    id: str
    api_url: str
    glm: str
    until: float
    reason: str = ""

    def describe(self) -> str:
        """Returns a sentence for people: what stays open, until when, and the command that ends it."""
        ends = time.strftime("%H:%M", time.localtime(self.until))
        if self.kind == "allocation":
            return (
                f"{show_glm(Decimal(self.glm))} stay reserved until {ends} (allocation {self.id}): the next command of "
                f"nima-golem tries again to release them, or `yagna payment release-allocations` does. {self.reason}"
            )
        return (
            f"An agreement stays open until {ends} ({self.id}): the next command of nima-golem tries again to end it. "
            f"{self.reason}"
        )


def remember(leftover: Leftover) -> None:
    """Writes down what could not be released."""
    folder = _folder()
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(_file(leftover), json.dumps(asdict(leftover)).encode())


def known_leftovers() -> list[Leftover]:
    """Returns what may still be open; forgets what has ended by itself, and files that cannot be read."""
    found = []
    for path in sorted(_folder().glob("*.json")):
        try:
            leftover = Leftover(**json.loads(path.read_text(encoding="utf-8")))
            if leftover.until > time.time():
                found.append(leftover)
                continue
        except (OSError, ValueError, TypeError):
            pass
        path.unlink(missing_ok=True)
    return found


async def release_leftovers(connection: GolemConnection) -> list[Leftover]:
    """Tries once to release what earlier commands left open with a daemon; returns what is released now."""
    mine = [leftover for leftover in known_leftovers() if leftover.api_url == connection.api_url]
    if not mine:
        return []
    released = []
    async with Wallet(connection, timeout=TRY_SECONDS, patience=0) as wallet:
        for leftover in mine:
            with suppress(GolemError):  # the next command tries again
                await _release(wallet, leftover)
                _file(leftover).unlink(missing_ok=True)
                released.append(leftover)
    return released


async def release_or_remember(leftover: Leftover, release: Callable[[], Awaitable[None]]) -> bool:
    """Releases something; if that fails, remembers it and returns False. Raises no GolemError."""
    try:
        await release()
    except GolemError as error:
        leftover = replace(leftover, reason=str(error))
        logger.warning("%s", leftover.describe())
        remember(leftover)
        return False
    return True


async def _release(wallet: Wallet, leftover: Leftover) -> None:
    if leftover.kind == "allocation":
        await wallet.release(leftover.id)
    else:
        await wallet.terminate(leftover.id, "Its run has ended.")


def _folder() -> Path:
    return data_folder() / "unreleased"


def _file(leftover: Leftover) -> Path:
    return _folder() / f"{leftover.kind}-{leftover.id[:64]}.json"
