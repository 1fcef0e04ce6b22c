"""Defines the lines of `metrics.jsonl`: one for each round, with an entry for each outcome of a task.

A field that an older version of this program did not write has a default; fields that a newer version adds are ignored.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from nima.safe_io import FormatError, check_types

ADMITTED = "admitted"


@dataclass(frozen=True)
class OutcomeEntry:
    """The record of one outcome and its verdict.

    Attributes:
        kind, verdict: the verdict's kind, as in `requestor.training.providers.verdict`, and its sentence for people.
        job: id of the job.
        client: number of the client whose task it was; None in the embedding, which has no clients.
        provider, provider_id: name and id of the provider; None if no provider took the task.
        norm: norm of the update; None if the update was refused before its norm was computed.
        emd: EMD on the hold-out with half of the update; None if the update was refused before this EMD was computed.
        content: SHA-256 of the update's values; None if they were not hashed.
        samples: number of assigned samples; in the embedding, the number of photos.
        loss: mean training loss, as the provider claims it.
        seconds: time from the start of the task to its end.
        cost_glm: GLM for the provider's usage; None if it is not known.
    """

    kind: str
    verdict: str
    job: str | None = None
    client: int | None = None
    provider: str | None = None
    provider_id: str | None = None
    norm: float | None = None
    emd: float | None = None
    content: str | None = None
    samples: int = 0
    loss: float | None = None
    seconds: float = 0.0
    cost_glm: Decimal | None = None

    @property
    def admitted(self) -> bool:
        """Returns True if the result was used."""
        return self.kind == ADMITTED

    def to_json(self) -> dict[str, Any]:
        """Returns the entry as JSON values; the cost is an exact text."""
        cost = None if self.cost_glm is None else str(self.cost_glm)
        return {**dataclasses.asdict(self), "admitted": self.admitted, "cost_glm": cost}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> OutcomeEntry:
        """Reads an entry. Raises ValueError if a field is missing, or has a wrong type."""
        known = {f.name: content[f.name] for f in dataclasses.fields(cls) if f.name in content}
        # The first versions of this program did not write the kind of a verdict.
        known.setdefault("kind", ADMITTED if content.get("admitted") is True else "no update")
        known["cost_glm"] = read_amount(known.get("cost_glm"))
        try:
            entry = cls(**known)
            check_types(entry)
        except (TypeError, FormatError) as error:
            raise ValueError(f"an outcome's entry is malformed: {error}") from error
        return entry


@dataclass(frozen=True)
class RoundEntry:
    """The record of one round; round 0 is the embedding.

    Attributes:
        round: number of the round.
        moved: True if the round changed the model.
        updates: one entry for each outcome.
        loss: mean training loss of the admitted updates, as the providers claim it; None if there are none, or if the
            model did not change.
        holdout: metrics on the hold-out by their names in `nima.ratings.metrics.Metrics`; None if the model did not
            change.
        spent_glm: GLM that the run has spent so far; None if it is not known.
    """

    round: int
    moved: bool
    updates: tuple[OutcomeEntry, ...]
    loss: float | None = None
    holdout: Mapping[str, float] | None = None
    spent_glm: Decimal | None = None

    @property
    def admitted(self) -> int:
        """Returns the number of updates that were admitted."""
        return sum(update.admitted for update in self.updates)

    def to_json(self) -> dict[str, Any]:
        """Returns the line as JSON values; amounts are exact texts."""
        line: dict[str, Any] = {"round": self.round, "moved": self.moved, "admitted": self.admitted, "loss": self.loss}
        if self.holdout is not None:
            line["holdout"] = dict(self.holdout)
        if self.spent_glm is not None:
            line["spent_glm"] = str(self.spent_glm)
        return {**line, "updates": [update.to_json() for update in self.updates]}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> RoundEntry:
        """Reads an entry. Raises ValueError if a field is missing, or has a wrong type."""
        number, updates, holdout = content.get("round"), content.get("updates"), content.get("holdout")
        # The first versions of this program wrote no `moved`, but wrote hold-out metrics only if the model changed.
        moved, loss = content.get("moved", holdout is not None), content.get("loss")
        if not isinstance(number, int) or isinstance(number, bool) or not isinstance(moved, bool):
            raise ValueError("it lacks the number of its round, or does not tell whether the model changed")
        if loss is not None and not _is_number(loss):
            raise ValueError("its loss is not a number")
        if not isinstance(updates, list) or not all(isinstance(update, dict) for update in updates):
            raise ValueError("it has no list of updates")
        if holdout is not None and not (isinstance(holdout, dict) and all(map(_is_number, holdout.values()))):
            raise ValueError("its hold-out metrics are not numbers")
        entries = tuple(OutcomeEntry.from_json(update) for update in updates)
        return cls(number, moved, entries, loss, holdout, read_amount(content.get("spent_glm")))


def latest(attempts: Iterable[RoundEntry]) -> list[RoundEntry]:
    """Returns one entry for each round, in order of the rounds: the last one if a round was done again."""
    by_round = {attempt.round: attempt for attempt in attempts}
    return [by_round[number] for number in sorted(by_round)]


def finite_or_none(value: float) -> float | None:
    """Returns the value; None if it is infinite or NaN, which JSON cannot express."""
    return value if math.isfinite(value) else None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def read_amount(text: object) -> Decimal | None:
    """Reads an amount of GLM from its exact text in a file; returns None for None.

    Raises ValueError if `text` is neither an amount nor None.
    """
    if text is None:
        return None
    try:
        amount = Decimal(text) if isinstance(text, str) else None
    except InvalidOperation:
        amount = None
    if amount is None or not amount.is_finite():
        raise ValueError(f"{text!r} is not an amount of GLM")
    return amount
