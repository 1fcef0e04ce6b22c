"""Learns how an owner's taste differs from a model's, and measures by cross-validation how well that ranks new photos.

The model predicts the distribution p of the ratings 1 to 10, with the mean m. The owner's mean rating y is known of n
photos. Ridge regression (Hoerl and Kennard 1970, doi:10.1080/00401706.1970.10488634) of y − m on the features z of the
photos, each scaled to mean 0 and deviation 1, gives a direction w that is the smaller, the stronger the penalty:

    w = (ΣzzT + penalty · n · I)^−1 Σz(y − m)

The owner's distribution is the model's, tilted so that its mean moves by about w·z (exponential tilting, v: the mean
variance of p): q(k) ∝ p(k) exp(k w·z / v). Its logits are linear in the features, so that a head of the network can
express it. With an endless penalty it is the model's own. The penalty is the one with the smallest squared error on
photos that were left out. If its rank correlation (Spearman's) with the owner's ratings of them is not higher than the
model's by more than two standard errors of the difference, the model's own head is kept: a squared error also becomes
smaller if the model is only made less sure. So few ratings do not make a model worse.

Photos of one burst are left out together. The choice of the penalty is repeated within the photos that are learnt from,
without those that are left out (nested cross-validation), so that the measured figures hold for new photos.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nima.ratings import mean_rating, standard_deviation

Array = NDArray[np.float64]

FOLDS = 5
PENALTIES = tuple(float(10.0**power) for power in np.arange(-1.5, 4.1, 0.5))
"""The penalties that are tried, for features of deviation 1; beyond the last one, the model's own head is kept."""

LEAST_RATED = 20
"""Least number of rated photos to learn from."""

_MOST_DIRECTIONS = 2048  # above it, the features are projected on those of so many photos, so that all fits in memory
_BLOCK = 1024  # photos whose features are in memory at once
_RATINGS = np.arange(1, 11)


@dataclass(frozen=True)
class RatedFeatures:
    """The photos to learn from.

    features: the input of the model's head for each photo, float16 `[n, features]`; it may be a file mapped to memory.
    probabilities: the model's probabilities of the ratings 1 to 10, `[n, 10]`.
    owners: the owner's mean rating of each photo, `[n]`, 1 to 10.
    groups: a number for each photo, `[n]`, which photos of one burst share.
    """

    features: NDArray[np.float16]
    probabilities: Array
    owners: Array
    groups: NDArray[np.int64]


@dataclass(frozen=True)
class Tilt:
    """Changes a model's distributions: the tilt of a photo with the features f is `(f − centre) · direction + offset`.

    centre, direction: `[features]`. offset: the tilt of a photo with the features `centre`.
    """

    centre: Array
    direction: Array
    offset: float

    def of(self, features: NDArray[np.float16]) -> Array:
        """Returns the tilts `[n]` of features `[n, features]`."""
        parts = [(block - self.centre) @ self.direction for _, block in blocks(features)]
        return np.concatenate([np.empty(0), *parts]) + self.offset


@dataclass(frozen=True)
class Learnt:
    """The result of learning.

    tilt: the owner's taste, from all photos.
    penalty: the penalty that was chosen; infinite if the model's own head is kept.
    left_out: the owner's distribution of each photo, `[n, 10]`, predicted from the photos of the other folds, or by the
        model if its own head is kept.
    folds: the taste learnt without each of the folds, with the penalty of the smallest error, even if the model's own
        head is kept.
    """

    tilt: Tilt
    penalty: float
    left_out: Array
    folds: tuple[Tilt, ...]


def tilted(probabilities: Array, tilts: Array) -> Array:
    """Returns distributions `[n, 10]`, tilted: rating k is `exp(k · tilt)` times as probable, up to the common factor.

    Example:
        >>> tilted(np.full((1, 10), 0.1), np.array([np.log(2)])).round(3)[0, -2:].tolist()
        [0.25, 0.5]
    """
    with np.errstate(divide="ignore"):  # a rating of probability 0 stays impossible
        logits = np.log(probabilities) + np.outer(tilts, _RATINGS)
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def learn(rated: RatedFeatures, seed: int = 0) -> Learnt:
    """Learns from rated photos. The memory depends on the number of features, and hardly on the number of photos.

    Args:
        rated: the photos, of at least one group a fold.
        seed: seed of the division into folds.
    """
    problem = _Problem(rated, _folds_of(rated.groups, seed))
    choice, best = problem.choice(frozenset())
    learns = choice < len(PENALTIES)
    left_out = rated.probabilities.copy()
    for fold in range(FOLDS) if learns else ():
        photos, without = problem.folds == fold, frozenset({fold})
        _, inner = problem.choice(without)
        left_out[photos] = tilted(rated.probabilities[photos], problem.tilts(without, fold)[:, inner])
    penalty = PENALTIES[choice] if learns else math.inf
    folds = tuple(problem.tilt(frozenset({fold}), best) for fold in range(FOLDS))
    return Learnt(problem.tilt(frozenset(), choice), penalty, left_out, folds)


class _Problem:
    """Solves the ridge regression for each penalty, without any of the folds.

    folds: the fold of each photo, `[n]`.
    """

    def __init__(self, rated: RatedFeatures, folds: NDArray[np.int64]) -> None:
        self._rated, self.folds = rated, folds
        self._differences = rated.owners - mean_rating(rated.probabilities)
        self._offset = float(self._differences.mean())
        self._variance = float(np.square(standard_deviation(rated.probabilities)).mean())
        self._centre, scale = moments_of(rated.features)
        # Each column turns centred features into one direction of the regression.
        spanning = min(len(rated.features), _MOST_DIRECTIONS)
        if spanning < len(scale):  # no other direction makes a difference for so few photos
            self._directions = _span(rated.features[:spanning], self._centre, scale)
        else:
            self._directions = np.diag(1 / scale)
        size = self._directions.shape[1]
        self._products, self._moments = np.zeros((FOLDS, size, size)), np.zeros((FOLDS, size))
        for start, block in blocks(rated.features):
            projected = (block - self._centre) @ self._directions
            for fold in range(FOLDS):
                photos = folds[start : start + len(block)] == fold
                differences = self._differences[start : start + len(block)][photos] - self._offset
                self._products[fold] += projected[photos].T @ projected[photos]
                self._moments[fold] += projected[photos].T @ differences
        self._solved: dict[frozenset[int], Array] = {}

    def weights(self, without: frozenset[int]) -> Array:
        """Returns the direction, `[features, penalties + 1]`, for each penalty, learnt without some folds.

        The last column is 0: the model's own head.
        """
        if without not in self._solved:
            kept = [fold for fold in range(FOLDS) if fold not in without]
            photos = int(np.isin(self.folds, kept).sum())
            values, vectors = np.linalg.eigh(self._products[kept].sum(axis=0))
            moments = vectors.T @ self._moments[kept].sum(axis=0)
            shrunk = moments[:, np.newaxis] / (values[:, np.newaxis] + photos * np.array(PENALTIES))
            solved = self._directions @ (vectors @ shrunk)
            self._solved[without] = np.pad(solved, ((0, 0), (0, 1)))
        return self._solved[without] / self._variance

    def tilt(self, without: frozenset[int], choice: int) -> Tilt:
        """Returns the tilt for one of the penalties, learnt without some folds; none at all for the last one."""
        offset = 0.0 if choice == len(PENALTIES) else self._offset / self._variance
        return Tilt(self._centre, self.weights(without)[:, choice], offset)

    def tilts(self, without: frozenset[int], fold: int) -> Array:
        """Returns the tilts, `[photos, penalties + 1]`, of the photos of a fold, learnt without some folds."""
        found = [np.empty((0, len(PENALTIES) + 1))]
        for _, block in blocks(self._rated.features[self.folds == fold]):
            found.append((block - self._centre) @ self.weights(without))
        return np.concatenate(found) + self._offset / self._variance

    def choice(self, without: frozenset[int]) -> tuple[int, int]:
        """Chooses a penalty by the other folds than `without`, each left out once; returns its index, and the best one.

        The best one is that of the smallest error. The first index is the number of penalties if the model's own head
        ranks as well.
        """
        tried = [fold for fold in range(FOLDS) if fold not in without]
        means = np.concatenate([self._means(fold, without | {fold}) for fold in tried])
        owners = np.concatenate([self._rated.owners[self.folds == fold] for fold in tried])
        best = int(np.square(means - owners[:, np.newaxis]).mean(axis=0)[:-1].argmin())
        ranks = _standard_ranks(owners)
        gains = ranks * (_standard_ranks(means[:, best]) - _standard_ranks(means[:, -1]))  # their mean: that of SRCC
        better = gains.mean() > 2 * gains.std() / math.sqrt(len(gains))
        return best if better else len(PENALTIES), best

    def _means(self, fold: int, without: frozenset[int]) -> Array:
        """Returns the owner's mean ratings of a fold's photos for each penalty, `[photos, penalties + 1]`."""
        probabilities = self._rated.probabilities[self.folds == fold]
        return np.stack([mean_rating(tilted(probabilities, tilts)) for tilts in self.tilts(without, fold).T], axis=1)


def _folds_of(groups: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Returns the fold of each photo; photos of one group are in one fold."""
    distinct, place = np.unique(groups, return_inverse=True)
    return np.asarray((np.random.default_rng(seed).permutation(len(distinct)) % FOLDS)[place])


def _standard_ranks(values: Array) -> Array:
    """Returns the ranks of values, `[n]`, ties at their average, scaled to mean 0 and deviation 1."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    deviation = float(ranks.std())
    return np.asarray((ranks - ranks.mean()) / (deviation if deviation > 0 else 1.0))


def blocks(features: NDArray[np.float16]) -> Iterator[tuple[int, Array]]:
    """Yields features in blocks of some photos in float64, each with the index of its first photo."""
    for start in range(0, len(features), _BLOCK):
        yield start, features[start : start + _BLOCK].astype(np.float64)


def moments_of(features: NDArray[np.float16]) -> tuple[Array, Array]:
    """Returns the mean and the deviation of each feature; no deviation is below a hundredth of the usual one."""
    mean = np.stack([block.sum(axis=0) for _, block in blocks(features)]).sum(axis=0) / len(features)
    squares = np.stack([np.square(block - mean).sum(axis=0) for _, block in blocks(features)]).sum(axis=0)
    deviation = np.sqrt(squares / len(features))
    usual = float(np.sqrt(np.square(deviation).mean()))
    return mean, np.maximum(deviation, 0.01 * usual if usual > 0 else 1.0)


def _span(features: NDArray[np.float16], centre: Array, scale: Array) -> Array:
    """Returns directions `[features, k]` that span some photos' features, for features that are centred.

    If each feature is divided by its deviation first, the directions are orthonormal.
    """
    scaled = (features.astype(np.float64) - centre) / scale
    values, vectors = np.linalg.eigh(scaled @ scaled.T)
    kept = values > 1e-6 * values[-1]
    return np.asarray((scaled.T @ vectors[:, kept]) / np.sqrt(values[kept]) / scale[:, np.newaxis])
