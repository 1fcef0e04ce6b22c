"""Defines the verdict on a provider's result: a kind with a reason."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from requestor.backends import Outcome
from requestor.records import ADMITTED, OutcomeEntry, finite_or_none

VerdictKind = Literal["admitted", "no update", "malformed", "implausible", "no work", "replay", "harmful"]


@dataclass(frozen=True)
class Verdict:
    """The judgement of a provider's result.

    kind: what was found.
    reason: a sentence for people.
    norm: norm of the update; NaN if it was refused before it was computed.
    emd: EMD on the hold-out of the round's model with half of the update; NaN if it was refused before it was computed.
    content: hash of the update's values; None if there are none.
    """

    kind: VerdictKind
    reason: str
    norm: float = math.nan
    emd: float = math.nan
    content: str | None = None

    @property
    def admitted(self) -> bool:
        return self.kind == ADMITTED


def outcome_entry(outcome: Outcome, verdict: Verdict, samples: int, client: int | None = None) -> OutcomeEntry:
    """Makes the entry of an outcome for the run's record.

    Args:
        samples: number of assigned samples; in the embedding, of photos.
        client: number of the client whose task it was; None in the embedding.
    """
    return OutcomeEntry(
        kind=verdict.kind,
        verdict=verdict.reason,
        job=outcome.task.job.job_id,
        client=client,
        provider=outcome.provider.name if outcome.provider else None,
        provider_id=outcome.provider.id if outcome.provider else None,
        norm=finite_or_none(verdict.norm),
        emd=finite_or_none(verdict.emd),
        content=verdict.content,
        samples=samples,
        loss=outcome.result.loss if outcome.result else None,
        seconds=round(outcome.seconds, 2),
        cost_glm=outcome.cost,
    )
