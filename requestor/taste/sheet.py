"""Writes a contact sheet of photos to rate, and keeps the stars that were given on one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nima.scoring import Scorer
from nima.xmp import PhotoRater, XmpError
from requestor.scoring import Mark, contact_sheet
from requestor.taste.kept_stars import KeptStars
from requestor.taste.stars import UNRATED


@dataclass
class TakenMarks:
    """The result of reading a list of marks.

    taken: number of marks that were kept or written.
    problems: a sentence for each mark that was not.
    """

    taken: int = 0
    problems: list[str] = field(default_factory=list)


def write_sheet(path: Path, photos: Sequence[Path], scorer: Scorer) -> int:
    """Writes a contact sheet of photos in their order; returns how many of them are on it.

    Paths are absolute on it, so that its list can be read back in any working directory.

    Args:
        path: file of the sheet.
        photos: the photos.
        scorer: a scorer that gives thumbnails.

    Raises `ConfigurationError` if the sheet cannot be written.
    """
    with contact_sheet(path) as sheet:
        scores = list(sheet.thumbnails_kept(scorer.score([Path(os.path.abspath(photo)) for photo in photos])))
        for _ in sheet.written(scores):
            pass
        return sheet.photos


def take_marks(marks: Sequence[Mark], folder: Path, photos: Sequence[Path], kept: KeptStars) -> TakenMarks:
    """Keeps the stars of a list of marks in the user's data folder; photos are not changed.

    Args:
        marks: the marks. A path means a photo relative to `folder`, or to the working directory.
        folder: the folder of the photos.
        photos: the photos that may be named.
        kept: receives the stars.

    Raises `ConfigurationError` if the stars cannot be kept.
    """
    result = TakenMarks()
    ratings = _named(marks, folder, photos, result)
    kept.keep(ratings)
    result.taken = len(ratings)
    return result


def write_marks(marks: Sequence[Mark], folder: Path, photos: Sequence[Path], rater: PhotoRater) -> TakenMarks:
    """Writes the stars of a list of marks into sidecars or into photos; ratings that photos have already are kept.

    Args:
        marks, folder, photos: as for `take_marks`.
        rater: writes the ratings.
    """
    result = TakenMarks()
    for photo, rating in _named(marks, folder, photos, result).items():
        if rating == UNRATED:
            continue
        try:
            written = rater.rate(photo, rating)
        except XmpError as error:
            result.problems.append(str(error))
        except OSError as error:
            result.problems.append(f"{photo}: the photo cannot be read ({error.strerror}).")
        else:
            result.taken += 1
            if written.kept and written.rating != rating:
                result.problems.append(f"{photo}: it has the rating {written.rating}, which is kept.")
    return result


def _named(marks: Sequence[Mark], folder: Path, photos: Sequence[Path], result: TakenMarks) -> dict[Path, int]:
    """Returns the photos that marks name, with their ratings; a mark that names no known photo is a problem."""
    known = {os.path.abspath(photo): photo for photo in photos}
    ratings: dict[Path, int] = {}
    for mark in marks:
        places = (os.path.abspath(os.path.join(folder, mark.path)), os.path.abspath(mark.path))
        photo = next((known[place] for place in places if place in known), None)
        if photo is None:
            result.problems.append(f"{mark.path}: there is no such photo in {folder}.")
        else:
            ratings[photo] = mark.stars
    return ratings
