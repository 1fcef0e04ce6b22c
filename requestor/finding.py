"""What one of the doctor's checks found."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

Level = Literal["ok", "warning", "blocked", "skipped"]


@dataclass(frozen=True)
class Finding:
    """What one check found. `advice`: the way out; empty where all is well."""

    check: str
    level: Level
    found: str
    advice: str = ""

    def to_json(self) -> dict[str, str]:
        return asdict(self)
