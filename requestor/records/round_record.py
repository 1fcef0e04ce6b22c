"""The lines of `metrics.jsonl`: one a round, with an entry for each outcome of a task in it.

What an older version of this program did not write yet has a default, and what a newer one adds is ignored.
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
    """One outcome and its verdict.

    Attributes:
        kind, verdict: what was found, as in `requestor.training.providers.verdict`, and the sentence for people.
        job: id of the job.
        client: number of the client whose work it was; None in the embedding, which has no clients.
        provider, provider_id: name and id of who did it; None where nobody did.
        norm: of the update; emd: of the hold-out with half of it; both None where they were not reached.
        content: hash of the update's values.
        samples: that were assigned; photos in the embedding.
        loss: mean training loss, as the provider claims it.
        seconds: from issuing the task to its end.
        cost_glm: GLM that the provider's usage came to; None where nobody knows.
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
        return self.kind == ADMITTED

    def to_json(self) -> dict[str, Any]:
        cost = None if self.cost_glm is None else str(self.cost_glm)
        return {**dataclasses.asdict(self), "admitted": self.admitted, "cost_glm": cost}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> OutcomeEntry:
        """Raises ValueError where a field is missing, or has a wrong type."""
        known = {f.name: content[f.name] for f in dataclasses.fields(cls) if f.name in content}
        # The first versions did not say of what kind a verdict was.
        known.setdefault("kind", ADMITTED if content.get("admitted") is True else "no update")
        known["cost_glm"] = _amount(known.get("cost_glm"))
        try:
            entry = cls(**known)
            check_types(entry)
        except (TypeError, FormatError) as error:
            raise ValueError(f"an outcome's entry is malformed: {error}") from error
        return entry


@dataclass(frozen=True)
class RoundEntry:
    """One round; 0 is the embedding.

    Attributes:
        moved: whether the model was.
        updates: one entry an outcome.
        loss: mean of the training losses that were admitted, as the providers claim them; None without any.
        holdout: metrics on the hold-out by their names in `nima.ratings.metrics.Metrics`; None where the model did not
            move.
        spent_glm: by the run so far.
    """

    round: int
    moved: bool
    updates: tuple[OutcomeEntry, ...]
    loss: float | None = None
    holdout: Mapping[str, float] | None = None
    spent_glm: Decimal | None = None

    @property
    def admitted(self) -> int:
        """How many updates were."""
        return sum(update.admitted for update in self.updates)

    def to_json(self) -> dict[str, Any]:
        line: dict[str, Any] = {"round": self.round, "moved": self.moved, "admitted": self.admitted, "loss": self.loss}
        if self.holdout is not None:
            line["holdout"] = dict(self.holdout)
        if self.spent_glm is not None:
            line["spent_glm"] = str(self.spent_glm)
        return {**line, "updates": [update.to_json() for update in self.updates]}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> RoundEntry:
        """Raises ValueError where a field is missing, or has a wrong type."""
        number, updates, holdout = content.get("round"), content.get("updates"), content.get("holdout")
        # The first versions did not say whether the model moved, but wrote hold-out metrics where it did.
        moved, loss = content.get("moved", holdout is not None), content.get("loss")
        if not isinstance(number, int) or isinstance(number, bool) or not isinstance(moved, bool):
            raise ValueError("it lacks the number of its round, or does not tell whether the model moved")
        if loss is not None and not _is_number(loss):
            raise ValueError("its loss is no number")
        if not isinstance(updates, list) or not all(isinstance(update, dict) for update in updates):
            raise ValueError("it has no list of updates")
        if holdout is not None and not (isinstance(holdout, dict) and all(map(_is_number, holdout.values()))):
            raise ValueError("its hold-out metrics are no numbers")
        entries = tuple(OutcomeEntry.from_json(update) for update in updates)
        return cls(number, moved, entries, loss, holdout, _amount(content.get("spent_glm")))


def latest(attempts: Iterable[RoundEntry]) -> list[RoundEntry]:
    """Returns one entry a round, in order; of a round that was done again, the last."""
    by_round = {attempt.round: attempt for attempt in attempts}
    return [by_round[number] for number in sorted(by_round)]


def finite_or_none(value: float) -> float | None:
    """Returns the value, or None for what JSON has no word for: infinity, and what is no number."""
    return value if math.isfinite(value) else None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _amount(text: object) -> Decimal | None:
    """An amount of GLM, which files hold as text, exactly."""
    if text is None:
        return None
    try:
        amount = Decimal(text) if isinstance(text, str) else None
    except InvalidOperation:
        amount = None
    if amount is None or not amount.is_finite():
        raise ValueError(f"{text!r} is no amount of GLM")
    return amount
