"""Defines the verdict on a provider's result: a kind with a reason."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from requestor.backends import Outcome
from requestor.records import ADMITTED, OutcomeEntry, finite_or_none

VerdictKind = Literal[
    "admitted", "no update", "malformed", "implausible", "no work", "replay", "false", "outlier", "harmful"
]
PROOF: frozenset[VerdictKind] = frozenset({"malformed", "no work", "replay", "false"})
"""The kinds that prove that a provider lies or does not work: bytes that break the format, an update of zeros, a copy,
and a result that is not the one that this machine computes. Only these may ban a provider beyond a run."""
RELATIVE: frozenset[VerdictKind] = frozenset({"outlier", "harmful"})
"""The kinds that tell only how an update stands to others, or to few photos: they cost it the round, and no more."""


@dataclass(frozen=True)
class Verdict:
    """The judgement of a provider's result.

    kind: kind of the judgement. "implausible" and "no work" are refused for what they are alone, "outlier" beside the
        others or this machine's own update, "harmful" for what it does to the hold-out.
    reason: a sentence for people.
    norm: norm of the update; NaN if the update was refused before its norm was computed.
    emd: EMD of the round's model with half of the update added, on the hold-out; NaN if the update was refused before
        this EMD was computed.
    content: SHA-256 of the update's values; None if they were not hashed.
    """

    kind: VerdictKind
    reason: str
    norm: float = math.nan
    emd: float = math.nan
    content: str | None = None

    @property
    def admitted(self) -> bool:
        """Returns True if the result is used."""
        return self.kind == ADMITTED


def outcome_entry(outcome: Outcome, verdict: Verdict, samples: int, client: int | None = None) -> OutcomeEntry:
    """Makes the entry of an outcome for the run's record.

    Args:
        samples: number of assigned samples; in the embedding, the number of photos.
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
