"""What is known of the providers: how fast they are, who fails, and who is not to be hired again."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from statistics import median
from typing import Any

from nima.files import write_atomically
from requestor.admission import Kind, Verdict
from requestor.backends.base import Provider
from requestor.errors import ConfigurationError

OUT = 6  # penalty points in a row, without an admitted update between them, at which a provider is given no more
FAILURE = 3
# An honest update is harmful about once in six times; nobody sends a copy, or no work, by mistake.
PENALTIES: Mapping[Kind, int] = {"malformed": 3, "implausible": 3, "harmful": 2, "no work": OUT, "replay": OUT}


@dataclass
class Standing:
    """One provider in this run.

    client: number of the client that it trained last, and so the one whose shards it holds; None before the first.
    banned: why it is out, None while it is not.
    """

    name: str
    client: int | None = None
    tasks: int = 0
    failures: int = 0
    penalty: int = 0
    samples: int = 0
    seconds: float = 0.0
    banned: str | None = None

    @property
    def speed(self) -> float | None:
        """Samples a second, transfers included, over all updates that were admitted; None before the first."""
        return self.samples / self.seconds if self.seconds > 0 else None


@dataclass(frozen=True)
class Ban:
    """Why a provider is not hired, and since when (ISO 8601, UTC)."""

    name: str
    reason: str
    since: str


class BanList:
    """The bans that outlive a run: a JSON file, `{provider id: {name, reason, since}}`.

    Raises ConfigurationError, from every method, where the file is no such list.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> dict[str, Ban]:
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
            return {str(provider): Ban(**ban) for provider, ban in content.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise ConfigurationError(f"{self.path} is no list of bans ({error}): repair or delete it.") from error

    def add(self, provider: Provider, reason: str) -> None:
        with self._locked() as bans:
            since = datetime.now(timezone.utc).isoformat(timespec="seconds")
            bans.setdefault(provider.id, Ban(provider.name, reason, since))

    def pardon(self, provider_id: str) -> bool:
        """Take a provider off the list; False if it was not on it."""
        with self._locked() as bans:
            return bans.pop(provider_id, None) is not None

    @contextmanager
    def _locked(self) -> Iterator[dict[str, Ban]]:
        """The bans to be changed, while no other run can."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            bans = self.read()
            yield bans
            content = {provider: asdict(ban) for provider, ban in bans.items()}
            write_atomically(self.path, json.dumps(content, indent=1).encode())


def ban_list(environment: Mapping[str, str] = os.environ) -> BanList:
    """The user's list, which all runs share."""
    base = environment.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return BanList(Path(base) / "nima-golem" / "banned-providers.json")


class Providers:
    """Who may still be given tasks in this run.

    Failing is an accident or worse, and puts a provider out of this run alone. Who is put out by what it sent is
    remembered in the list of bans, too.

    Args:
        bans: None where providers have no identity that outlives the run.
    """

    def __init__(self, bans: BanList | None = None) -> None:
        self._bans = bans
        self._standings: dict[str, Standing] = {}
        for provider_id, ban in (bans.read() if bans else {}).items():
            self._standings[provider_id] = Standing(ban.name, banned=ban.reason)

    def standings(self) -> dict[str, Standing]:
        """By provider id, in the order in which they were first heard of."""
        return dict(self._standings)

    def is_banned(self, provider_id: str) -> bool:
        return provider_id in self._standings and self._standings[provider_id].banned is not None

    def relative_speed(self, client: int) -> float | None:
        """Speed of the provider that trained this client last, relative to the median provider's; None if unknown."""
        speeds = [standing.speed for standing in self._standings.values() if standing.speed]
        for standing in self._standings.values():
            if standing.client == client and standing.speed:
                return standing.speed / median(speeds)
        return None

    def failed(self, provider: Provider, reason: str) -> None:
        """It did not bring a result: crashed, hung, was cut off."""
        standing = self._standing(provider)
        standing.failures += 1
        self._penalise(standing, FAILURE, f"failed too often: {reason}")

    def admitted(self, provider: Provider, client: int, samples: int, seconds: float) -> None:
        """Its update for this client, of so many assigned samples, was admitted after `seconds` on our clock."""
        standing = self._standing(provider)
        for other in self._standings.values():
            if other.client == client:
                other.client = None
        standing.client = client
        standing.tasks += 1
        standing.penalty = 0
        standing.samples += samples
        standing.seconds += seconds

    def refused(self, provider: Provider, verdict: Verdict) -> None:
        """It brought a result that was not admitted."""
        standing = self._standing(provider)
        standing.failures += 1
        was_out = standing.banned is not None
        self._penalise(standing, PENALTIES.get(verdict.kind, FAILURE), verdict.reason)
        if standing.banned is not None and not was_out and self._bans is not None:
            self._bans.add(provider, verdict.reason)

    def resume(self, rounds: Iterable[Mapping[str, Any]]) -> None:
        """Learn the speeds again from the lines of `metrics.jsonl` that were written before this process started.

        Penalties are not: who is in the list of bans is out, and anybody else gets another chance.
        """
        for update in (update for line in rounds for update in line["updates"] if update["admitted"]):
            provider = Provider(update["provider_id"], update["provider"])
            self.admitted(provider, update["client"], update["samples"], update["seconds"])

    def _standing(self, provider: Provider) -> Standing:
        return self._standings.setdefault(provider.id, Standing(provider.name))

    @staticmethod
    def _penalise(standing: Standing, points: int, reason: str) -> None:
        standing.penalty += points
        if standing.penalty >= OUT and standing.banned is None:
            standing.banned = reason
