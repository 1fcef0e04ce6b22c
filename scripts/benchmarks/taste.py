"""Measures how well `taste` ranks for owners that a program draws, and how many ratings `--next` saves.

    python scripts/benchmarks/taste.py build/taste [--photos 3000] [--rated 150 500 1500] [--seeds 0 1 2 3 4] [--json]

The photos are those of tiny-AVA, drawn once into the folder. One owner likes warm colours (red against blue), one likes
contrast (the deviation of the luminance), and one has the taste of the default model. Each gives the stars 1 to 5 to a
tenth, a fifth, two fifths, a fifth and a tenth of all photos by this taste, with noise of half its deviation. Half of
the photos are never rated: on them, the rank correlation (Spearman's) of the predicted mean with the owner's taste
without noise is measured. Intervals are 95% of Student's t over the seeds, each of which draws the rated photos.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.stats import spearmanr, t

from nima.ratings import mean_rating
from nima.scoring import FeatureScorer, ScoreCache
from nima.tiny_ava import draw_tiny_ava
from requestor.taste import Learnt, RatedFeatures, learn, owners_mean, propose, tilted

SEED_OF_PHOTOS = 11
NOISE = 0.5  # of the stars, in deviations of the taste
SHARES = (0.1, 0.3, 0.7, 0.9)  # of the photos, below which two, three, four and five stars begin
FIRST, STEP, LAST = 20, 20, 200  # ratings before the first proposal, in each one, and at the end

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Photos:
    """Holds what the default model sees in the photos, and each owner's taste, scaled to deviation 1."""

    features: NDArray[np.float16]
    probabilities: Array
    tastes: dict[str, Array]


@dataclass(frozen=True)
class Mean:
    """Holds the mean of a figure over the seeds, and half of its 95% interval."""

    mean: float
    interval: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Mean:
        """Computes both of the values of two seeds or more; a single value has no interval."""
        n = len(values)
        half = float(t.ppf(0.975, n - 1) * np.std(values, ddof=1) / np.sqrt(n)) if n > 1 else 0.0
        return cls(round(float(np.mean(values)), 4), round(half, 4))


def scaled(values: Sequence[float] | Array) -> Array:
    array = np.asarray(values, dtype=np.float64)
    return np.asarray((array - array.mean()) / array.std())


def read_photos(folder: Path, photos: int) -> Photos:
    """Draws the photos unless they are there, and computes their features, which the folder keeps."""
    if not (folder / "AVA.txt").exists():
        draw_tiny_ava(folder, photos, SEED_OF_PHOTOS)
    files = sorted((folder / "images").glob("*.jpg"))[:photos]
    scores = list(FeatureScorer(cache=ScoreCache(folder / "scores.sqlite")).score(files))
    warmth, contrast = [], []
    for file in files:
        with Image.open(file) as image:
            pixels = np.asarray(image.convert("RGB").resize((64, 64)), dtype=np.float64)
        warmth.append(pixels[..., 0].mean() - pixels[..., 2].mean())
        contrast.append((pixels @ [0.299, 0.587, 0.114]).std())
    probabilities = np.array([score.probabilities for score in scores])
    tastes = {
        "warm colours": scaled(warmth),
        "contrast": scaled(contrast),
        "the model's taste": scaled(mean_rating(probabilities)),
    }
    features = np.stack([score.features for score in scores if score.features is not None])
    return Photos(features, probabilities, tastes)


class Owner:
    """Is one owner of photos for one seed: half of them may be rated, in an order; the others are unseen."""

    def __init__(self, photos: Photos, owner: str, seed: int) -> None:
        random = np.random.default_rng(seed)
        self.photos, self.taste = photos, photos.tastes[owner]
        order = random.permutation(len(self.taste))
        self.pool, self.unseen = order[: len(order) // 2], order[len(order) // 2 :]
        seen = self.taste + random.normal(0, NOISE, len(self.taste))
        self.stars = 1 + np.searchsorted(np.quantile(seen, SHARES), seen)

    def learn(self, rated: NDArray[np.int64]) -> Learnt:
        """Learns from photos, given by their indices."""
        owners = np.array([owners_mean(int(stars)) for stars in self.stars[rated]])
        return learn(RatedFeatures(self.photos.features[rated], self.photos.probabilities[rated], owners, rated))

    def correlation(self, learnt: Learnt | None) -> float:
        """Computes the rank correlation with the taste on unseen photos; None is the default model."""
        probabilities = self.photos.probabilities[self.unseen]
        if learnt is not None:
            probabilities = tilted(probabilities, learnt.tilt.of(self.photos.features[self.unseen]))
        return float(spearmanr(mean_rating(probabilities), self.taste[self.unseen]).statistic)

    def curve(self, proposing: bool) -> list[float]:
        """Returns the rank correlation after each `STEP` ratings, of photos that are proposed or come at random."""
        rated, found = self.pool[:FIRST], []
        while True:
            learnt = self.learn(rated)
            found.append(self.correlation(learnt))
            if len(rated) >= LAST:
                return found
            left = self.pool[~np.isin(self.pool, rated)]
            chosen = np.arange(STEP)
            if proposing:
                chosen = np.array(propose(self.photos.features[left], left, learnt.folds, STEP, seed=len(rated)))
            rated = np.concatenate([rated, left[chosen]])


def rows(photos: Photos, rated: Sequence[int], seeds: Sequence[int]) -> list[dict[str, object]]:
    """Measures the taste of each owner after so many ratings, beside the default model."""
    found: list[dict[str, object]] = []
    for name in photos.tastes:
        owners = [Owner(photos, name, seed) for seed in seeds]
        default = Mean.of([owner.correlation(None) for owner in owners])
        for count in rated:
            taste = Mean.of([owner.correlation(owner.learn(owner.pool[:count])) for owner in owners])
            found.append({"owner": name, "rated": count, "taste": asdict(taste), "default": asdict(default)})
    return found


def proposals(photos: Photos, seeds: Sequence[int]) -> list[dict[str, object]]:
    """Measures the ratings that proposals save, for the owners who differ from the default model."""
    found: list[dict[str, object]] = []
    for name in list(photos.tastes)[:2]:
        owners = [Owner(photos, name, seed) for seed in seeds]
        random, proposed = ([owner.curve(proposing) for owner in owners] for proposing in (False, True))
        counts = list(range(FIRST, LAST + 1, STEP))
        gains = np.array(proposed) - np.array(random)
        found.append(
            {
                "owner": name,
                "rated": counts,
                "random": [asdict(Mean.of(column)) for column in np.array(random).T.tolist()],
                "proposed": [asdict(Mean.of(column)) for column in np.array(proposed).T.tolist()],
                "gain": asdict(Mean.of(gains.mean(axis=1).tolist())),
                "saved": _saved(np.mean(random, axis=0), np.mean(proposed, axis=0), counts),
            }
        )
    return found


def _saved(random: Array, proposed: Array, counts: list[int]) -> dict[str, int]:
    """Returns how many ratings fewer (or, below 0, more) proposals need for what 60, 100, … random ratings reach."""
    reached = np.maximum.accumulate(proposed)
    saved = {}
    for count in (60, 100, 140):
        goal = random[counts.index(count)]
        saved[str(count)] = count - round(float(np.interp(goal, reached, counts)))
    return saved


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of the drawn photos and their features")
    parser.add_argument("--photos", type=int, default=3000)
    parser.add_argument("--rated", type=int, nargs="+", default=[150, 500, 1500])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    photos = read_photos(options.folder, options.photos)
    figures = {
        "photos": options.photos,
        "unseen": len(photos.features) - len(photos.features) // 2,
        "seeds": len(options.seeds),
        "owners": rows(photos, options.rated, options.seeds),
        "next": proposals(photos, options.seeds),
    }
    print(json.dumps(figures, indent=None if options.json else 1))


if __name__ == "__main__":
    main()
