"""Carries out one call of `nima-golem taste`: reads the owner's stars, learns the taste, and writes the model."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from nima.ratings import RatingPairs
from nima.safe_io import printable
from nima.scoring import DEFAULT_MODEL, FeatureScorer, Runtime, Score, uses_onnx_runtime
from nima.weights import TASTE
from requestor.errors import ConfigurationError
from requestor.scoring import LeftOut, default_cache, photo_files
from requestor.taste.embedded_photos import EmbeddedPhotos, embedded_photos
from requestor.taste.learning import FOLDS, LEAST_RATED, Learnt, RatedFeatures, learn
from requestor.taste.stars import REJECTED, UNRATED, Rated, owners_mean, read_stars
from requestor.terminal import (
    announce_conversion,
    convert_for_scoring,
    find_or_fetch_model,
    progress_bar,
    with_scoring_progress,
)


@dataclass(frozen=True)
class TasteRequest:
    """Describes which photos to learn a taste from, and how.

    folder: the folder with the photos.
    recursive: True searches folders inside it, too.
    start: path or name of the model to start from; None for the default model.
    initial_rating: a rating in a sidecar that counts as none; None for none.
    as_json: True prints one JSON object instead of sentences.
    runtime, device, threads: as for `Scorer`.
    quiet: True prints nothing but errors and the JSON object.
    """

    folder: Path
    recursive: bool = False
    start: str | None = None
    initial_rating: int | None = None
    as_json: bool = False
    runtime: Runtime = "auto"
    device: str = "auto"
    threads: int | None = None
    quiet: bool = False

    def note(self, text: str) -> None:
        """Prints a remark on stderr, unless the request is quiet."""
        if not self.quiet:
            click.echo(text, err=True)


@dataclass(frozen=True)
class Figure:
    """A rank correlation (Spearman's) with the owner's stars, −1 to 1, and its 95% interval."""

    srcc: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.srcc:.3f} ({self.low:.3f} to {self.high:.3f})"


def run(request: TasteRequest) -> int:
    """Learns the taste from the stars of the photos in a folder; returns the exit code.

    The exit code is 1 if a photo could not be read, and 0 otherwise.

    Raises:
        ConfigurationError: there is no photo, or there are too few rated ones, or their stars are all the same.
        NimaError: the model to start from cannot be loaded or fetched, or the result cannot be written.
    """
    photos = _photos(request)
    rated = _rated(request, photos)
    chosen = [one for one in rated if one.rating != UNRATED]
    _check_enough(chosen)
    start = request.start or DEFAULT_MODEL
    path = find_or_fetch_model(start)
    if uses_onnx_runtime(request.runtime, request.device) and not request.quiet:
        announce_conversion(path)
    scorer = FeatureScorer(
        path,
        device=request.device,
        threads=request.threads,
        cache=default_cache(request.note),
        appearance=True,
        runtime=request.runtime,
    )
    ratings = {str(one.path): one.rating for one in chosen}
    with embedded_photos([one.path for one in chosen], scorer, _bar(request)) as embedded:
        for failure in embedded.failures:
            request.note(printable(failure))
        stars = np.array([ratings[score.path] for score in embedded.scores])
        _check_enough([Rated(Path(score.path), ratings[score.path]) for score in embedded.scores])
        learnt = _learnt(embedded, stars)
        facts = _facts(request, start, len(photos), stars, embedded, learnt)
    from requestor.taste.model_file import save_taste  # imported here, as only now torch is needed

    facts["model"] = str(save_taste(path, learnt.tilt, start, len(stars), _data_line(facts)))
    if not request.quiet:
        convert_for_scoring(Path(facts["model"]))
    click.echo(json.dumps(facts) if request.as_json else "\n".join(_sentences(facts)))
    return 1 if embedded.failures else 0


def _photos(request: TasteRequest) -> list[Path]:
    if not request.folder.is_dir():
        raise ConfigurationError(f"{printable(str(request.folder))} is no folder. Name the folder with your photos.")
    left_out = LeftOut()
    photos = list(photo_files([request.folder], request.recursive, left_out))
    if (summary := left_out.summary()) is not None:
        request.note(printable(summary))
    if not photos:
        raise ConfigurationError(
            f"There is no photo in {printable(str(request.folder))}. Pass -r to search folders inside it, too."
        )
    return photos


def _rated(request: TasteRequest, photos: list[Path]) -> list[Rated]:
    rated = []
    with progress_bar("reading stars") as advance:
        for one in read_stars(photos, request.initial_rating):
            rated.append(one)
            advance(len(rated), len(photos))
    for one in rated:
        if one.problem is not None:
            request.note(f"Counted as unrated: {printable(one.problem)}")
    return rated


def _check_enough(rated: list[Rated]) -> None:
    """Raises `ConfigurationError` if there are too few rated photos to learn from, or all have the same stars."""
    if len(rated) < LEAST_RATED:
        raise ConfigurationError(
            f"{len(rated)} photos have a rating; {LEAST_RATED} are the least to learn from. Give stars in your photo "
            "manager, or with --next 20, which proposes photos to rate."
        )
    if len({owners_mean(one.rating) for one in rated}) == 1:
        raise ConfigurationError(
            "All rated photos have the same number of stars, so there is nothing to learn. Rate photos that you like "
            "less, too. If a program gave these stars, name them with --initial-rating."
        )


def _bar(request: TasteRequest) -> Any:
    def bar(scores: Iterator[Score], count: int) -> Iterator[Score]:
        if request.quiet or not sys.stderr.isatty():
            return scores
        return with_scoring_progress(scores, lambda: count)

    return bar


def _learnt(embedded: EmbeddedPhotos, stars: Any) -> Learnt:
    owners = np.array([owners_mean(rating) for rating in stars])
    return learn(RatedFeatures(embedded.features, embedded.probabilities, owners, embedded.groups))


def _facts(
    request: TasteRequest, start: str, photos: int, stars: Any, embedded: EmbeddedPhotos, learnt: Learnt
) -> dict[str, Any]:
    return {
        "folder": str(request.folder),
        "photos": photos,
        "rated": len(stars),
        "rejected": int((stars == REJECTED).sum()),
        "unreadable": len(embedded.failures),
        "start": start,
        "folds": FOLDS,
        "penalty": None if math.isinf(learnt.penalty) else learnt.penalty,
        "srcc": vars(figure(learnt.left_out, stars)),
        "srcc_start": vars(figure(embedded.probabilities, stars)),
    }


def figure(probabilities: Any, stars: Any) -> Figure:
    """Computes the rank correlation of predicted distributions, `[n, 10]`, with stars, −1 to 5, and its interval."""
    pairs = RatingPairs.of(probabilities, np.eye(10)[np.maximum(stars, 1) - 1])
    low, high = pairs.intervals()["srcc_mean"]
    return Figure(pairs.metrics().srcc_mean, low, high)


def _data_line(facts: dict[str, Any]) -> str:
    return (
        f"stars that one person gave to {facts['rated']} photos; cross-validated rank correlation with them "
        f"{Figure(**facts['srcc'])}, that of {facts['start']} {Figure(**facts['srcc_start'])}"
    )


def _sentences(facts: dict[str, Any]) -> Iterator[str]:
    rejected = f", {facts['rejected']} of them rejected" if facts["rejected"] else ""
    yield f"{facts['rated']} of {facts['photos']} photos have a rating{rejected}."
    yield f"Rank correlation with your stars on photos that were left out ({facts['folds']} folds; 95% interval):"
    width = max(len(TASTE), len(facts["start"]))
    yield f"  {TASTE:<{width}}  {Figure(**facts['srcc'])}"
    yield f"  {facts['start']:<{width}}  {Figure(**facts['srcc_start'])}"
    if facts["penalty"] is None:
        yield (
            f"These stars do not yet tell how your taste differs, so the model ranks as {facts['start']} does. Rate "
            "more photos: --next 20 proposes some."
        )
    yield f"Score with it: nima-golem score --model {TASTE}"
