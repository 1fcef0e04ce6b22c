"""Defines the finding of one check of `nima-golem doctor`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

Level = Literal["ok", "warning", "blocked", "skipped"]


@dataclass(frozen=True)
class SetupFinding:
    """Holds the finding of one check.

    check: name of the check.
    level: "ok", "warning", "blocked" if a run on Golem cannot work like this, or "skipped" if the check could not be
        made.
    found: a text with the finding, for people.
    advice: what the user can do; empty if there is nothing to do.
    """

    check: str
    level: Level
    found: str
    advice: str = ""

    def to_json(self) -> dict[str, str]:
        """Returns the fields by name."""
        return asdict(self)
