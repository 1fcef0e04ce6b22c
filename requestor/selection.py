"""Which scores are shown, and in which order."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from nima.score import Score

Order = Literal["input", "score", "spread", "path"]


def _rating(score: Score) -> float:
    assert score.aesthetic_score is not None
    return score.aesthetic_score


def _spread(score: Score) -> float:
    assert score.std is not None
    return score.std


_KEYS: dict[str, tuple[Callable[[Score], float | str], bool]] = {  # order → (by what, whether the highest come first)
    "score": (_rating, True),
    "spread": (_spread, True),
    "path": (lambda score: score.path, False),
}


@dataclass(frozen=True)
class Selection:
    """The `top` best (all where None) of those that score `min_score` (1 to 10) or more, in an order.

    order: "score" has the best first, "spread" those that people would disagree on most.
    best_of_group: of photos that have been grouped, first of all only the best of each group.
    """

    order: Order = "input"
    top: int | None = None
    min_score: float | None = None
    best_of_group: bool = False

    def of(self, scores: Iterable[Score]) -> Iterator[Score]:
        """Photos without a score come last where there is an order, and not at all where only some are wanted.

        Passes scores on as they come where neither `order` nor `top` need all of them.
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
