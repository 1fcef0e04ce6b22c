"""Defines the score of one photo: the predicted ratings and the figures that follow from them."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nima.photos import Appearance
from nima.ratings import ava_percentile, mean_rating, standard_deviation, stars_of_percentile


@dataclass(frozen=True)
class Group:
    """The place of a photo among its near-duplicates.

    number: number of the group, from 1.
    size: number of photos in the group.
    best: True if no photo of the group scores higher; of equal photos, only the first is the best.
    sequence: True if the group is an exposure bracket or a panorama, of which all photos are needed.
    """

    number: int
    size: int
    best: bool
    sequence: bool = False


@dataclass(frozen=True)
class Score:
    """The score of one photo. If `error` names a reason for which there is no score, the other results are None.

    path: the path that was given; empty for a photo that was given as bytes or as an image.
    aesthetic_score: the predicted mean rating, 1 to 10.
    std: standard deviation of the predicted ratings, 0 to 4.5; it is larger if people would disagree more.
    probabilities: probabilities of the ratings 1 to 10; they sum to 1.
    percentile: percentage of AVA's photos with a lower mean rating, 0 to 100.
    stars: number of stars, 1 to 5, by percentile.
    model: name of the model and the first eight digits of its file's SHA-256, as `name@12345678`.
    width, height: sides of the upright photo, in pixels.
    error: a sentence with the reason; None if there is a score.
    appearance: hash, time and thumbnail of the photo; None if the scorer was not asked for them.
    group: the photo's place among its near-duplicates; None if `with_groups` has set none.
    features: the input of the model's head for the photo, float16 `[features]`; None if the scorer was not asked for
        them. Equality of scores leaves them out.
    """

    path: str
    aesthetic_score: float | None
    std: float | None
    probabilities: tuple[float, ...] | None
    percentile: float | None
    stars: int | None
    model: str
    width: int | None
    height: int | None
    error: str | None
    appearance: Appearance | None = None
    group: Group | None = None
    features: NDArray[np.float16] | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of(
        cls,
        path: str,
        probabilities: ArrayLike,
        model: str,
        width: int,
        height: int,
        appearance: Appearance | None = None,
        features: NDArray[np.float16] | None = None,
    ) -> Score:
        """Makes a score from the probabilities (`[10]`, sum 1) that a model gives for a photo.

        Raises `DistributionError` if there are not ten.
        """
        score = float(mean_rating(probabilities))
        percentile = ava_percentile(score)
        return cls(
            path=path,
            aesthetic_score=score,
            std=float(standard_deviation(probabilities)),
            probabilities=tuple(np.asarray(probabilities, dtype=np.float64).tolist()),
            percentile=percentile,
            stars=stars_of_percentile(percentile),
            model=model,
            width=width,
            height=height,
            error=None,
            appearance=appearance,
            features=features,
        )

    @classmethod
    def failed(cls, path: str, model: str, error: str) -> Score:
        """Makes the result for a photo that could not be scored; `error` is a sentence with the reason."""
        return cls(path, None, None, None, None, None, model, None, None, error)

    def as_row(self, grouped: bool = False) -> dict[str, Any]:
        """Returns the fields for JSON: all up to `error`, and, if `grouped`, also the facts of the group."""
        row = {name: getattr(self, name) for name in _COLUMNS}
        if grouped:
            taken = None if self.appearance is None else self.appearance.taken
            row["taken"] = None if taken is None else taken.isoformat()
            row["group"] = None if self.group is None else self.group.number
            row["best"] = None if self.group is None else self.group.best
            row["sequence"] = None if self.group is None else self.group.sequence
            row["sharpness"] = None if self.appearance is None else self.appearance.sharpness
            row["exposure"] = None if self.appearance is None else self.appearance.exposure
        return row


_COLUMNS = [one.name for one in fields(Score) if one.name not in ("appearance", "group", "features")]
