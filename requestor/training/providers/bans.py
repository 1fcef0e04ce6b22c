"""Keeps the list of providers that no run hires any more, in a file that all runs of a user share."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

from nima.safe_io import data_folder, one_line, write_atomically
from requestor.backends import Provider
from requestor.errors import ConfigurationError


@dataclass(frozen=True)
class Ban:
    """One provider's ban: its name, the reason, and the time since which it holds (ISO 8601, UTC)."""

    name: str
    reason: str
    since: str


class BanList:
    """Reads and writes the bans that hold beyond a run, in a JSON file: `{provider id: {name, reason, since}}`.

    Every method raises ConfigurationError if the file is not such a list.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> dict[str, Ban]:
        """Returns the bans by provider id; there are none if the file does not exist."""
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
            return {str(provider): Ban(**ban) for provider, ban in content.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise ConfigurationError(f"{self.path} is not a list of bans ({error}): repair or delete it.") from error

    def add(self, provider: Provider, reason: str) -> None:
        """Puts a provider on the list with a reason for people; a ban that exists already stays as it is."""
        with self._locked() as bans:
            since = datetime.now(timezone.utc).isoformat(timespec="seconds")
            # A provider may have chosen these texts, and they are shown on a terminal later.
            bans.setdefault(provider.id, Ban(one_line(provider.name), one_line(reason), since))

    def pardon(self, provider_id: str) -> bool:
        """Takes a provider off the list; returns False if it was not on it."""
        with self._locked() as bans:
            return bans.pop(provider_id, None) is not None

    @contextmanager
    def _locked(self) -> Iterator[dict[str, Ban]]:
        """Yields the bans, which may be changed, and writes them back; no other run can change them meanwhile."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            bans = self.read()
            yield bans
            content = {provider: asdict(ban) for provider, ban in bans.items()}
            write_atomically(self.path, json.dumps(content, indent=1).encode())


def ban_list() -> BanList:
    """Returns the user's list, which all runs share."""
    return BanList(data_folder() / "banned-providers.json")
