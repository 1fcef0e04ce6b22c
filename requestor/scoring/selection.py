"""Selects the scores to show, and their order."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from nima.scoring import Score

Order = Literal["input", "score", "spread", "path"]


def _rating(score: Score) -> float:
    assert score.aesthetic_score is not None
    return score.aesthetic_score


def _spread(score: Score) -> float:
    assert score.std is not None
    return score.std


_KEYS: dict[str, tuple[Callable[[Score], float | str], bool]] = {  # order → (key, True if the highest come first)
    "score": (_rating, True),
    "spread": (_spread, True),
    "path": (lambda score: score.path, False),
}


@dataclass(frozen=True)
class Selection:
    """Selects the `top` best scores (all if None) of those that have `min_score` (1 to 10) or more, in an order.

    order: "score" puts the best first, "spread" those on which people would disagree most.
    best_of_group: of grouped photos, keep only the best of each group before anything else.
    """

    order: Order = "input"
    top: int | None = None
    min_score: float | None = None
    best_of_group: bool = False

    def of(self, scores: Iterable[Score]) -> Iterator[Score]:
        """Yields the selected scores; yields them as they arrive if neither `order` nor `top` needs all of them.

        With an order, photos without a score come last; with `top` or `min_score`, they are left out.
        """
        if self.best_of_group:
            scores = (score for score in scores if score.group is None or score.group.best)
        if self.min_score is not None:
            least = self.min_score
            scores = (score for score in scores if score.error is None and _rating(score) >= least)
        if self.top is not None:
            readable = (numbered for numbered in enumerate(scores) if numbered[1].error is None)
            best = heapq.nlargest(self.top, readable, key=lambda numbered: _rating(numbered[1]))
            scores = [score for _, score in sorted(best, key=lambda numbered: numbered[0])]
        if self.order != "input":
            key, highest_first = _KEYS[self.order]
            every = list(scores)
            scored = [score for score in every if score.error is None]
            scored.sort(key=key, reverse=highest_first)
            scores = scored + [score for score in every if score.error is not None]
        yield from scores
