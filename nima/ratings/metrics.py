"""Measures how well predicted rating distributions agree with people's, and compares each figure with a constant's.

The definitions are those of Talebi and Milanfar, "NIMA: Neural Image Assessment", 2017, in float64:

* EMD of each image, then averaged: `(1/10 · Σ_k |CDF_p(k) − CDF_q(k)|^r)^(1/r)`. Training uses r = 2, reports
  r = 1.
* LCC (Pearson) and SRCC (Spearman, ties share their average rank) of means and of standard deviations.
* Accuracy: both means on the same side of 5, where "good" is a mean above 5.

A constant that predicts the average distribution for every image has a good EMD and a good accuracy on AVA, and no
correlation at all. So EMD and accuracy say little unless the constant's figures stand beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nima.ratings.distribution import BUCKETS, RATINGS, DistributionError, normalise_votes

GOOD = 5.0  # a photo is "good" if its mean rating is above this

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Metrics:
    """The agreement of predictions and ratings over `n` images.

    Correlations (`srcc_…`, `lcc_…`) lie in −1..1 and are 0 if one side is constant; EMDs lie in 0..1; accuracies are
    shares in 0..1. `constant_…` are the figures of a constant, which always predicts the average rated distribution.
    """

    srcc_mean: float
    lcc_mean: float
    srcc_std: float
    lcc_std: float
    emd_r1: float
    emd_r2: float
    accuracy: float
    constant_emd_r1: float
    constant_emd_r2: float
    constant_accuracy: float
    n: int

    def as_dict(self) -> dict[str, float | int]:
        """Returns the figures by their names."""
        return asdict(self)


@dataclass(frozen=True)
class RatingPairs:
    """Predicted and rated distributions of the same images, float64 `[n, 10]` each."""

    predicted: Array
    rated: Array

    @classmethod
    def of(cls, predicted: ArrayLike, ratings: ArrayLike) -> RatingPairs:
        """Pairs predictions with votes or shares, both `[n, 10]`, n ≥ 1; each row is scaled to sum 1.

        Raises `DistributionError` if a row is no distribution or the two do not match.
        """
        pairs = cls(np.ascontiguousarray(normalise_votes(predicted)), np.ascontiguousarray(normalise_votes(ratings)))
        shape = pairs.predicted.shape
        if pairs.rated.shape != shape or len(shape) != 2 or shape[0] == 0:
            raise DistributionError(
                f"Predictions and ratings must be [n, {BUCKETS}] with n ≥ 1 images each; "
                f"these are {shape} and {pairs.rated.shape}."
            )
        return pairs

    def metrics(self) -> Metrics:
        """Computes all metrics over these images."""
        images = self._images
        return Metrics(
            srcc_mean=_correlation(_ranks(images["predicted_mean"]), _ranks(images["rated_mean"])),
            lcc_mean=_correlation(images["predicted_mean"], images["rated_mean"]),
            srcc_std=_correlation(_ranks(images["predicted_std"]), _ranks(images["rated_std"])),
            lcc_std=_correlation(images["predicted_std"], images["rated_std"]),
            **{name: float(images[name].mean()) for name in _AVERAGED},
            n=len(self.rated),
        )

    def losses(self) -> Array:
        """Returns the EMD (r = 1, in 0..1) of each image, float64 `[n]`, of which `metrics` reports the mean."""
        return self._images["emd_r1"]

    def intervals(
        self, resamples: int = 1000, confidence: float = 0.95, seed: int = 0
    ) -> dict[str, tuple[float, float]]:
        """Computes a percentile bootstrap interval, (low, high), of each metric, by the metric's name.

        Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13. The constant prediction
        stays that of the whole set.

        Args:
            resamples: number of times that n images are drawn with replacement.
            confidence: share of the resamples that lie inside the interval, between 0 and 1.
            seed: seed of the draws; the same seed gives the same intervals.
        """
        images, n = self._images, len(self.rated)
        averaged = np.stack([images[name] for name in _AVERAGED])
        columns: dict[str, Callable[[Array], Array]] = {}
        for name in ("predicted_mean", "rated_mean", "predicted_std", "rated_std"):
            columns[name] = _weighted_ranks(images[name])
        random = np.random.default_rng(seed)
        drawn: dict[str, list[float]] = {name: [] for name in (*CORRELATION_METRICS, *_AVERAGED)}
        for _ in range(resamples):
            weights = np.bincount(random.integers(n, size=n), minlength=n).astype(np.float64)
            ranks = {name: ranked(weights) for name, ranked in columns.items()}
            for moment in ("mean", "std"):
                first, second = f"predicted_{moment}", f"rated_{moment}"
                drawn[f"srcc_{moment}"].append(_correlation(ranks[first], ranks[second], weights))
                drawn[f"lcc_{moment}"].append(_correlation(images[first], images[second], weights))
            for name, value in zip(_AVERAGED, (averaged * weights).sum(axis=1) / n, strict=True):
                drawn[name].append(float(value))
        tail = 50 * (1 - confidence)
        return {
            name: (float(np.percentile(values, tail)), float(np.percentile(values, 100 - tail)))
            for name, values in drawn.items()
        }

    @cached_property
    def _images(self) -> dict[str, Array]:
        """Returns the contribution of each image to the metrics: name → float64 `[n]`."""
        constant = np.broadcast_to(self.rated.mean(axis=0), self.rated.shape)
        predicted_mean, predicted_std = _moments(self.predicted)
        rated_mean, rated_std = _moments(self.rated)
        good = rated_mean > GOOD
        return {
            "predicted_mean": predicted_mean,
            "predicted_std": predicted_std,
            "rated_mean": rated_mean,
            "rated_std": rated_std,
            "emd_r1": _emd(self.predicted, self.rated, 1),
            "emd_r2": _emd(self.predicted, self.rated, 2),
            "accuracy": ((predicted_mean > GOOD) == good).astype(np.float64),
            "constant_emd_r1": _emd(constant, self.rated, 1),
            "constant_emd_r2": _emd(constant, self.rated, 2),
            "constant_accuracy": (good == (_moments(constant[:1])[0] > GOOD)).astype(np.float64),
        }


CORRELATION_METRICS = ("srcc_mean", "lcc_mean", "srcc_std", "lcc_std")
"""The names of those fields of `Metrics` that are correlations."""

_AVERAGED = ("emd_r1", "emd_r2", "accuracy", "constant_emd_r1", "constant_emd_r2", "constant_accuracy")


# Each metric's key, its name for people, and the key of the constant's figure. No constant has a correlation.
_NAMES = (
    ("srcc_mean", "SRCC of the mean", None),
    ("lcc_mean", "LCC of the mean", None),
    ("srcc_std", "SRCC of the spread", None),
    ("lcc_std", "LCC of the spread", None),
    ("emd_r1", "EMD, r = 1", "constant_emd_r1"),
    ("emd_r2", "EMD, r = 2", "constant_emd_r2"),
    ("accuracy", "Accuracy at 5", "constant_accuracy"),
)


@dataclass(frozen=True)
class MetricRow:
    """One metric, as tables show it to people.

    Attributes:
        key: its name among the fields of `Metrics`.
        name: its name for people.
        model: the model's figure.
        low, high: the interval of that figure; None if it is not known.
        constant: the figure of a constant prediction; None if it is not known.
    """

    key: str
    name: str
    model: float
    low: float | None
    high: float | None
    constant: float | None

    def interval(self, digits: int = 4) -> str:
        """Returns the interval as text, with `digits` decimals, or a dash if there is none."""
        return "–" if self.low is None else f"{self.low:.{digits}f} … {self.high:.{digits}f}"


def metric_rows(metrics: Mapping[str, float], intervals: Mapping[str, tuple[float, float]]) -> list[MetricRow]:
    """Makes a row for each metric, in a fixed order.

    Args:
        metrics: `Metrics` as a dictionary; names that are missing get no row.
        intervals: the result of `RatingPairs.intervals`; may be empty.
    """
    rows = []
    for key, name, constant in _NAMES:
        if key in metrics:
            low, high = intervals.get(key, (None, None))
            rows.append(MetricRow(key, name, metrics[key], low, high, metrics.get(constant) if constant else 0.0))
    return rows


def compute_metrics(predicted: ArrayLike, ratings: ArrayLike) -> Metrics:
    """Compares predicted distributions with votes or shares, both `[n, 10]`, n ≥ 1.

    Raises `DistributionError` if a row is no distribution or the two do not match.

    Example:
        >>> ratings = np.eye(10)[[2, 4, 6]]  # three images, rated 3, 5 and 7 by everybody
        >>> predicted = np.eye(10)[[3, 4, 6]]
        >>> metrics = compute_metrics(predicted, ratings)
        >>> round(metrics.srcc_mean, 3), round(metrics.emd_r1, 3), metrics.n
        (1.0, 0.033, 3)
    """
    return RatingPairs.of(predicted, ratings).metrics()


def _moments(distributions: Array) -> tuple[Array, Array]:
    """Returns the mean and the standard deviation of each row.

    Both are sums along the rows. A matrix product would round a row differently by its position and by the processor,
    and the last bit decides ties in rank, and on which side a mean of exactly 5 lies, which 0.2% of AVA's photos have.
    """
    mean = (distributions * RATINGS).sum(axis=1)
    return mean, np.sqrt((distributions * (RATINGS - mean[:, np.newaxis]) ** 2).sum(axis=1))


def _emd(p: Array, q: Array, r: int) -> Array:
    distance = np.abs(np.cumsum(p - q, axis=1))
    return np.asarray((distance**r).mean(axis=1) ** (1 / r))


def _correlation(x: Array, y: Array, weights: Array | None = None) -> float:
    """Computes Pearson's correlation, with each pair counted `weight` times; 0 if one side is constant.

    It does not use `@`, because the threads of `@` wait for each other far longer than sums of this length take.
    """
    if weights is None:
        weights = np.ones(len(x))
    x = x - (weights * x).sum() / weights.sum()
    y = y - (weights * y).sum() / weights.sum()
    # A constant's deviations from its own average are rounding noise, and so would be their correlation.
    drawn = weights > 0
    if np.ptp(x[drawn]) <= 1e-12 or np.ptp(y[drawn]) <= 1e-12:
        return 0.0
    spread = np.sqrt((weights * x * x).sum() * (weights * y * y).sum())
    return float(np.clip((weights * x * y).sum() / spread, -1.0, 1.0))


def _ranks(values: Array) -> Array:
    return _weighted_ranks(values)(np.ones(len(values)))


def _weighted_ranks(values: Array) -> Callable[[Array], Array]:
    """Returns a function: weights → rank of each value among all, with each value counted `weight` times.

    Ties share their average rank.
    """
    distinct, group = np.unique(values, return_inverse=True)

    def ranked(weights: Array) -> Array:
        size = np.bincount(group, weights=weights, minlength=len(distinct))
        return np.asarray((np.cumsum(size) - (size - 1) / 2)[group])

    return ranked
