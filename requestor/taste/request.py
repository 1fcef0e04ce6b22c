"""Carries out one call of `nima-golem taste`: reads the owner's stars, learns the taste, and writes the model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nima.safe_io import printable
from nima.scoring import DEFAULT_MODEL, Runtime, uses_onnx_runtime
from requestor.errors import ConfigurationError
from requestor.scoring import LeftOut, check_replaceable, default_cache, photo_files, read_marks
from requestor.taste.kept_stars import KeptStars
from requestor.taste.learning import LEAST_RATED, Tilt
from requestor.taste.sheet import take_marks, write_marks
from requestor.taste.stars import REJECTED, UNRATED, Rated, owners_mean, read_stars
from requestor.taste.steps import Learning, sentences
from requestor.terminal import announce_conversion, find_or_fetch_model, progress_bar

if TYPE_CHECKING:
    from nima.xmp import RatingPlace


@dataclass(frozen=True)
class TasteRequest:
    """Describes which photos to learn a taste from, and how.

    folder: the folder with the photos.
    recursive: True searches folders inside it, too.
    start: path or name of the model to start from; None for the default model.
    initial_rating: a rating in a sidecar that counts as none; None for none.
    proposals: number of photos to propose for rating; None for none.
    html: file of the contact sheet with the proposed photos.
    marks: list of marks of a contact sheet to take, or `-` for stdin; None for none.
    xmp: where to write the taken marks; None keeps them in the user's data folder.
    as_json: True prints one JSON object instead of sentences.
    runtime, device, threads: as for `Scorer`.
    quiet: True prints nothing but errors and the JSON object.
    """

    folder: Path
    recursive: bool = False
    start: str | None = None
    initial_rating: int | None = None
    proposals: int | None = None
    html: Path = Path("taste.html")
    marks: Path | None = None
    xmp: RatingPlace | None = None
    as_json: bool = False
    runtime: Runtime = "auto"
    device: str = "auto"
    threads: int | None = None
    quiet: bool = False

    def note(self, text: str) -> None:
        """Prints a remark on stderr, unless the request is quiet."""
        if not self.quiet:
            click.echo(text, err=True)


def run(request: TasteRequest) -> int:
    """Learns the taste from the stars of the photos in a folder; returns the exit code.

    Before that, stars of a contact sheet are taken if the request names a list of them; after it, a sheet of photos to
    rate is written if the request wants some. With either of them, too few rated photos are no error.

    The exit code is 1 if a photo could not be read, or a mark was not taken, and 0 otherwise.

    Raises:
        ConfigurationError: there is no photo, or there are too few rated ones, or their stars are all the same; or the
            list of marks or a file of this program cannot be used.
        NimaError: the model to start from cannot be loaded or fetched, or the result cannot be written.
    """
    photos = _photos(request)
    if request.proposals:
        check_replaceable(request.html)
    cache = default_cache(request.note)
    kept = KeptStars.load(cache)
    facts: dict[str, Any] = {"folder": str(request.folder), "photos": len(photos)}
    if request.marks is not None:
        facts["marks"] = _taken(request, photos, kept)
    rated = _rated(request, photos, kept)
    chosen = [one for one in rated if one.rating != UNRATED]
    facts |= {"rated": len(chosen), "rejected": sum(one.rating == REJECTED for one in chosen)}
    too_few = _problem(chosen)
    if too_few is not None and not request.proposals and request.marks is None:
        raise ConfigurationError(too_few)
    start = request.start or DEFAULT_MODEL
    committee: Sequence[Tilt] = ()
    if too_few is None or request.proposals:
        path = find_or_fetch_model(start)
        if uses_onnx_runtime(request.runtime, request.device) and not request.quiet:
            announce_conversion(path)
        learning = Learning(path, start, request, cache)
        if too_few is None:
            committee = learning.learn(chosen, facts)
        if request.proposals:
            learning.propose([one.path for one in rated if one.rating == UNRATED], committee, facts)
    click.echo(json.dumps(facts) if request.as_json else "\n".join(sentences(facts, too_few)))
    return 1 if facts.get("unreadable") or facts.get("marks", {}).get("problems") else 0


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


def _taken(request: TasteRequest, photos: list[Path], kept: KeptStars) -> dict[str, Any]:
    """Takes the marks of the request's list; returns how many were taken, and the problems with the others."""
    assert request.marks is not None
    marks = read_marks(request.marks)
    if request.xmp is None:
        result = take_marks(marks, request.folder, photos, kept)
    else:
        from nima.xmp import PhotoRater  # imported here, as few calls write ratings

        rater = PhotoRater(request.xmp, initial_rating=request.initial_rating)
        result = write_marks(marks, request.folder, photos, rater)
    for problem in result.problems:
        request.note(printable(problem))
    return {"taken": result.taken, "problems": result.problems}


def _rated(request: TasteRequest, photos: list[Path], kept: KeptStars) -> list[Rated]:
    """Returns the rating of each photo; one that a photo has, or its sidecar, counts before one that is kept."""
    rated = []
    with progress_bar("reading stars") as advance:
        for one in read_stars(photos, request.initial_rating):
            if one.problem is not None:
                request.note(f"Counted as unrated: {printable(one.problem)}")
            rated.append(replace(one, rating=one.rating or kept.of(one.path)))
            advance(len(rated), len(photos))
    return rated


def _problem(rated: Sequence[Rated]) -> str | None:
    """Returns a sentence if there are too few rated photos to learn from, or all have the same stars; else None."""
    if len(rated) < LEAST_RATED:
        return (
            f"{len(rated)} photos have a rating; {LEAST_RATED} are the least to learn from. Give stars in your photo "
            "manager, or with --next 20, which proposes photos to rate."
        )
    if len({owners_mean(one.rating) for one in rated}) == 1:
        return (
            "All rated photos have the same number of stars, so there is nothing to learn. Rate photos that you like "
            "less, too. If a program gave these stars, name them with --initial-rating."
        )
    return None
