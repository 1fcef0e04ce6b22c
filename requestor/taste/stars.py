"""Reads the stars that the owner gave to photos: in sidecars, inside the photos, and on contact sheets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nima.ratings import mean_of_stars
from nima.xmp import PhotoRater, XmpError

REJECTED = -1
UNRATED = 0
MOST_STARS = 5


@dataclass(frozen=True)
class Rated:
    """A photo with the owner's rating.

    path: the photo.
    rating: −1 (rejected), 0 (unrated), or 1 to 5 stars.
    problem: a sentence with the reason for which a rating could not be read, so that the photo counts as unrated; None
        if there is none.
    """

    path: Path
    rating: int
    problem: str | None = None


def owners_mean(rating: int) -> float:
    """Returns the mean rating, 1 to 10, that an owner's stars stand for; a rejected photo counts as one with one star.

    It is the middle of the share of AVA's photos to which `score` gives these stars, so that the stars of a model that
    was trained on it are the owner's.
    """
    return mean_of_stars(max(rating, 1))


def read_stars(photos: Sequence[Path], initial_rating: int | None = None) -> Iterator[Rated]:
    """Yields the rating of each photo: that of a sidecar of either style, or the one inside the photo.

    No file is changed.

    Args:
        photos: the photos.
        initial_rating: a rating in a sidecar that counts as none, because a photo manager gives it to each new photo,
            as darktable gives 1; None for none.
    """
    reader = PhotoRater("darktable", initial_rating=initial_rating, dry_run=True)
    for photo in photos:
        try:
            rating = reader.rating_of(photo) or UNRATED
        except XmpError as error:
            yield Rated(photo, UNRATED, str(error))
        except OSError as error:
            yield Rated(photo, UNRATED, f"{photo}: the photo cannot be read ({error.strerror}).")
        else:
            if REJECTED <= rating <= MOST_STARS:
                yield Rated(photo, rating)
            else:
                yield Rated(photo, UNRATED, f"{photo}: {rating} is no number of stars; 1 to 5 are.")
