"""Carries out the steps of a call that need the network: learns a taste, measures it, and proposes photos to rate."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from nima.ratings import RatingPairs
from nima.safe_io import printable
from nima.scoring import FeatureScorer, Score, ScoreCache, Scorer
from nima.weights import TASTE
from requestor.errors import ConfigurationError
from requestor.taste.embedded_photos import embedded_photos
from requestor.taste.learning import FOLDS, LEAST_RATED, RatedFeatures, Tilt, learn
from requestor.taste.proposal import propose
from requestor.taste.sheet import write_sheet
from requestor.taste.stars import REJECTED, Rated, owners_mean
from requestor.terminal import convert_for_scoring, with_scoring_progress

if TYPE_CHECKING:
    from requestor.taste.request import TasteRequest


@dataclass(frozen=True)
class Figure:
    """A rank correlation (Spearman's) with the owner's stars, −1 to 1, and its 95% interval."""

    srcc: float
    low: float
    high: float

    @classmethod
    def of(cls, probabilities: ArrayLike, ratings: Sequence[int]) -> Figure:
        """Computes the rank correlation of predicted distributions, `[n, 10]`, with ratings, −1 or 1 to 5."""
        stars = np.maximum(np.asarray(ratings), 1)
        pairs = RatingPairs.of(probabilities, np.eye(10)[stars - 1])
        low, high = pairs.intervals()["srcc_mean"]
        return cls(pairs.metrics().srcc_mean, low, high)

    def __str__(self) -> str:
        return f"{self.srcc:.3f} ({self.low:.3f} to {self.high:.3f})"


@dataclass(frozen=True)
class Learning:
    """Learns a taste on top of a model.

    path, start: file and name of the model to start from.
    request: the options of the call.
    cache: keeps what the network sees in the photos; None for no cache.
    """

    path: Path
    start: str
    request: TasteRequest
    cache: ScoreCache | None

    def learn(self, rated: Sequence[Rated], facts: dict[str, Any]) -> Sequence[Tilt]:
        """Learns from rated photos and writes the model; returns the tastes that were learnt without a fold each.

        Args:
            rated: the photos with their ratings.
            facts: receives the figures and the path of the model.

        Raises `ConfigurationError` if too few of the photos can be read.
        """
        ratings = {str(one.path): one.rating for one in rated}
        with embedded_photos([one.path for one in rated], self._scorer(FeatureScorer), self._bar) as embedded:
            for failure in embedded.failures:
                self.request.note(printable(failure))
            given = [ratings[score.path] for score in embedded.scores]
            if len(given) < LEAST_RATED:
                raise ConfigurationError(
                    f"Only {len(given)} of the rated photos can be read; {LEAST_RATED} are the least to learn from."
                )
            owners = np.array([owners_mean(rating) for rating in given])
            probabilities = embedded.probabilities
            learnt = learn(RatedFeatures(embedded.features, probabilities, owners, embedded.groups))
        facts |= {
            "rated": len(given),
            "rejected": given.count(REJECTED),
            "unreadable": len(embedded.failures),
            "start": self.start,
            "folds": FOLDS,
            "penalty": None if math.isinf(learnt.penalty) else learnt.penalty,
            "srcc": vars(Figure.of(learnt.left_out, given)),
            "srcc_start": vars(Figure.of(probabilities, given)),
        }
        from requestor.taste.model_file import save_taste  # imported here, as only now torch is needed

        model = save_taste(self.path, learnt.tilt, self.start, len(given), _data_line(facts))
        facts["model"] = str(model)
        if not self.request.quiet:
            convert_for_scoring(model)
        return learnt.folds

    def propose(self, unrated: Sequence[Path], committee: Sequence[Tilt], facts: dict[str, Any]) -> None:
        """Writes a contact sheet of the unrated photos whose rating would teach most.

        Args:
            unrated: the photos to choose from.
            committee: the tastes that were learnt without a fold each; empty if there are none yet.
            facts: receives the sheet and the photos on it.
        """
        assert self.request.proposals is not None
        chosen: list[Path] = []
        with embedded_photos(unrated, self._scorer(FeatureScorer), self._bar) as embedded:
            facts["unreadable"] = facts.get("unreadable", 0) + len(embedded.failures)
            if embedded.scores:
                found = propose(embedded.features, embedded.groups, committee, self.request.proposals, len(unrated))
                chosen = [Path(embedded.scores[index].path) for index in found]
        facts["proposed"] = [str(path) for path in chosen]
        facts["sheet"] = str(self.request.html) if chosen else None
        if chosen:
            write_sheet(self.request.html, chosen, self._scorer(Scorer, thumbnails=True))

    def _scorer(self, kind: type[Scorer], thumbnails: bool = False) -> Any:
        return kind(
            self.path,
            device=self.request.device,
            threads=self.request.threads,
            cache=self.cache,
            appearance=True,
            thumbnails=thumbnails,
            runtime=self.request.runtime,
        )

    def _bar(self, scores: Iterator[Score], count: int) -> Iterator[Score]:
        if self.request.quiet or not sys.stderr.isatty():
            return scores
        return with_scoring_progress(scores, lambda: count)


def sentences(facts: dict[str, Any], too_few: str | None) -> Iterator[str]:
    """Yields the facts of a call for people; `too_few` is a sentence if nothing was learnt."""
    if "marks" in facts:
        yield f"{facts['marks']['taken']} marks were taken, {len(facts['marks']['problems'])} were not."
    rejected = f", {facts['rejected']} of them rejected" if facts["rejected"] else ""
    yield f"{facts['rated']} of {facts['photos']} photos have a rating{rejected}."
    if too_few is not None:
        yield too_few
    else:
        yield f"Rank correlation with your stars on photos that were left out ({facts['folds']} folds; 95% interval):"
        width = max(len(TASTE), len(facts["start"]))
        yield f"  {TASTE:<{width}}  {Figure(**facts['srcc'])}"
        yield f"  {facts['start']:<{width}}  {Figure(**facts['srcc_start'])}"
        if facts["penalty"] is None:
            yield (
                f"These stars do not yet tell how your taste differs, so the model ranks as {facts['start']} does. "
                "Rate more photos: --next 20 proposes some."
            )
        yield f"Score with it: nima-golem score --model {TASTE}"
    if "sheet" in facts:
        if facts["sheet"] is None:
            yield "There is no unrated photo left to propose."
        else:
            yield f"{len(facts['proposed'])} photos to rate: open {printable(facts['sheet'])}, and save its list."


def _data_line(facts: dict[str, Any]) -> str:
    return (
        f"stars that one person gave to photos; cross-validated rank correlation with them {Figure(**facts['srcc'])}, "
        f"that of {facts['start']} {Figure(**facts['srcc_start'])}"
    )
