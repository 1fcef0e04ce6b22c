"""Defines the score of one photo: the predicted ratings and the figures that follow from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nima.ava import AVA, Dataset
from nima.photos import Appearance
from nima.ratings import (
    ava_percentile,
    mean_rating,
    percentile_among,
    standard_deviation,
    stars_of_percentile,
)


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
class Population:
    """The photos among which a model's scores are ranked.

    name: name of the data set that holds the photos.
    quantiles: the 101 scores that the model gave them, as `nima.ratings.score_quantiles` returns them; empty for AVA's
        photos with the ratings of people, which are the photos for every model that did not record its own.
    """

    name: str = AVA.name
    quantiles: tuple[float, ...] = ()

    @classmethod
    def of_model(cls, metadata: Mapping[str, Any]) -> Population:
        """Makes the population of a model from the checked metadata of its checkpoint."""
        if "score_quantiles" not in metadata:
            return cls()
        return cls(Dataset.of_model(metadata).name, tuple(metadata["score_quantiles"]))

    def percentile(self, score: float) -> float:
        """Returns the percentage, 0 to 100, of these photos that lie below `score` (1 to 10)."""
        return percentile_among(score, self.quantiles) if self.quantiles else ava_percentile(score)


AVA_POPULATION = Population()


@dataclass(frozen=True)
class Score:
    """The score of one photo. If `error` names a reason for which there is no score, the other results are None.

    path: the path that was given; empty for a photo that was given as bytes or as an image.
    aesthetic_score: the predicted mean rating, 1 to 10.
    std: standard deviation of the predicted ratings, 0 to 4.5; it is larger if people would disagree more.
    probabilities: probabilities of the ratings 1 to 10; they sum to 1.
    percentile: percentage of the photos of `population` with a lower score, 0 to 100.
    stars: number of stars, 1 to 5, by percentile.
    population: name of the data set among whose photos the score is ranked; see `Population`.
    model: name of the model and the first eight digits of its file's SHA-256, as `name@12345678`.
    width, height: sides of the upright photo, in pixels.
    error: a sentence with the reason; None if there is a score.
    appearance: hash, time and thumbnail of the photo; None if the scorer was not asked for them.
    group: the photo's place among its near-duplicates; None if `with_groups` has set none.
    second: the score of the same photo by a second model; None if there is no such model.
    features: the input of the model's head for the photo, float16 `[features]`; None if the scorer was not asked for
        them. Equality of scores leaves them out.
    """

    path: str
    aesthetic_score: float | None
    std: float | None
    probabilities: tuple[float, ...] | None
    percentile: float | None
    stars: int | None
    population: str
    model: str
    width: int | None
    height: int | None
    error: str | None
    appearance: Appearance | None = None
    group: Group | None = None
    second: Score | None = None
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
        """Makes a score from the probabilities (`[10]`, sum 1) that a model gives for a photo, ranked in AVA.

        Raises `DistributionError` if there are not ten.
        """
        score = float(mean_rating(probabilities))
        percentile = AVA_POPULATION.percentile(score)
        return cls(
            path=path,
            aesthetic_score=score,
            std=float(standard_deviation(probabilities)),
            probabilities=tuple(np.asarray(probabilities, dtype=np.float64).tolist()),
            percentile=percentile,
            stars=stars_of_percentile(percentile),
            population=AVA_POPULATION.name,
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
        return cls(path, None, None, None, None, None, AVA_POPULATION.name, model, None, None, error)

    def ranked_in(self, population: Population) -> Score:
        """Returns the score with its percentile and stars among the photos of `population`."""
        percentile = None if self.aesthetic_score is None else population.percentile(self.aesthetic_score)
        stars = None if percentile is None else stars_of_percentile(percentile)
        return replace(self, percentile=percentile, stars=stars, population=population.name)

    def as_row(self, grouped: bool = False, seconded: bool = False) -> dict[str, Any]:
        """Returns the fields for JSON: all up to `error`.

        Args:
            grouped: True adds the facts of the group.
            seconded: True adds the score, its standard deviation and the name of the second model.
        """
        row = {name: getattr(self, name) for name in _COLUMNS}
        if seconded:
            row["second_score"] = None if self.second is None else self.second.aesthetic_score
            row["second_std"] = None if self.second is None else self.second.std
            row["second_model"] = None if self.second is None else self.second.model
        if grouped:
            taken = None if self.appearance is None else self.appearance.taken
            row["taken"] = None if taken is None else taken.isoformat()
            row["group"] = None if self.group is None else self.group.number
            row["best"] = None if self.group is None else self.group.best
            row["sequence"] = None if self.group is None else self.group.sequence
            row["sharpness"] = None if self.appearance is None else self.appearance.sharpness
            row["exposure"] = None if self.appearance is None else self.appearance.exposure
        return row


_COLUMNS = [one.name for one in fields(Score) if one.name not in ("appearance", "group", "second", "features")]
