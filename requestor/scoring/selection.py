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
    """Selects scores, and puts them in an order.

    order: "input" keeps the order of the input; "score" puts the best photos first, "spread" those on which people
        would disagree most; "path" sorts by path.
    top: number of photos with the highest scores that are kept; None for all.
    min_score: lowest score that is kept, 1 to 10; None for all.
    best_of_group: True keeps only the best photo of each group of near-duplicates, before the other conditions; all
        photos of an exposure bracket and of a panorama are kept.
    """

    order: Order = "input"
    top: int | None = None
    min_score: float | None = None
    best_of_group: bool = False

    def of(self, scores: Iterable[Score]) -> Iterator[Score]:
        """Yields the selected scores. They are yielded as they arrive, unless `order` or `top` needs all of them first.

        Photos without a score come last in an order; with `top` or `min_score`, they are left out.
        """
        if self.best_of_group:
            scores = (score for score in scores if score.group is None or score.group.best or score.group.sequence)
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
