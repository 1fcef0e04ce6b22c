"""What was found of a provider's work: a value with a reason."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Kind = Literal["admitted", "no update", "malformed", "implausible", "no work", "replay", "harmful"]


@dataclass(frozen=True)
class Verdict:
    """What was found, and a sentence for people.

    norm: of the update; emd: on the hold-out, of the round's model with half of this update; both NaN where they were
        not reached.
    content: hash of the update's values, None where there were none.
    """

    kind: Kind
    reason: str
    norm: float = math.nan
    emd: float = math.nan
    content: str | None = None

    @property
    def admitted(self) -> bool:
        return self.kind == "admitted"
