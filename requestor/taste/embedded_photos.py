"""Computes the features of photos with a model, once: the cache of scores keeps them, by the content of the photos.

The features of all photos together are in a file on disk while they are used, so the memory does not depend on their
number.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nima.safe_io import cache_folder
from nima.scoring import FeatureScorer, Score, with_groups

Progress = Callable[[Iterator[Score], int], Iterator[Score]]
"""Yields the scores that it is given, of so many photos, and may show how many have come."""


@dataclass(frozen=True)
class EmbeddedPhotos:
    """Photos with their features.

    scores: the model's score of each photo that could be read, with its group, without its features.
    features: the input of the model's head for each of them, float16 `[n, features]`, mapped from a file.
    failures: a sentence for each photo that could not be read.
    """

    scores: list[Score]
    features: NDArray[np.float16]
    failures: list[str]

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """Returns the model's probabilities of the ratings 1 to 10, `[n, 10]`."""
        return np.array([score.probabilities for score in self.scores])

    @property
    def groups(self) -> NDArray[np.int64]:
        """Returns the number of the group of near-duplicates of each photo, `[n]`."""
        return np.array([0 if score.group is None else score.group.number for score in self.scores])


@contextmanager
def embedded_photos(photos: Sequence[Path], scorer: FeatureScorer, progress: Progress) -> Iterator[EmbeddedPhotos]:
    """Yields photos with their features, which are in a file of the cache folder while the block runs.

    Args:
        photos: the photos.
        scorer: a scorer that gives appearances, too.
        progress: shows the progress.

    Raises OSError if the file cannot be written.
    """
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    scores, failures = [], []
    with tempfile.TemporaryFile(dir=folder) as file:
        for score in progress(scorer.score(photos), len(photos)):
            if score.features is None:
                failures.append(str(score.error))
                continue
            file.write(score.features.tobytes())
            scores.append(replace(score, features=None))
        file.flush()
        features: NDArray[np.float16] = np.empty((0, 0), np.float16)
        if scores:
            features = np.memmap(file, np.float16, "r").reshape(len(scores), -1)
        yield EmbeddedPhotos(with_groups(scores), features, failures)
