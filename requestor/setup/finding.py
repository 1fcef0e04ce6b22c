"""Defines the finding of one check of `nima-golem doctor`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

Level = Literal["ok", "warning", "blocked", "skipped"]


@dataclass(frozen=True)
class SetupFinding:
    """Holds the finding of one check. `advice` says what to do; it is empty if there is nothing to do."""

    check: str
    level: Level
    found: str
    advice: str = ""

    def to_json(self) -> dict[str, str]:
        return asdict(self)
