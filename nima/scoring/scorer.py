"""Scores photos with a model in batches: returns one `Score` a photo, in order, and decodes while the network runs."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from nima.model import PREPARATION_REVISION, read_header
from nima.photos import Appearance, Photo, PhotoError, PhotoSource, appearance_of, is_photo_source, path_of, read_photo
from nima.safe_io import one_line
from nima.scoring.cache import HashedFile, KnownScore, ScoreCache
from nima.scoring.runtimes import Runtime, open_network, sha256_of_model
from nima.scoring.score import Population, Score
from nima.weights import find_model

DEFAULT_MODEL = "mobilenet_v1-ava"
_LARGEST = float(np.finfo(np.float16).max)


class Scorer:
    """A model that is ready to score.

    Args:
        model: path of a checkpoint, or a name of `nima-golem models list`, which is fetched on first use; None for the
            default model.
        device: "cpu", "cuda", "mps", or "auto": the CPU for ONNX Runtime, the fastest that is present for PyTorch.
        batch_size: number of photos that the network computes at once; changes scores by rounding only.
        threads: number of photos that are decoded at once; None for the number of cores.
        cache: looks up the scores of files, and keeps them; None for no cache.
        appearance: True gives each score the appearance of its photo, by which near-duplicates are found.
        thumbnails: True gives each score the appearance with a thumbnail.
        runtime: "onnx" for ONNX Runtime, "torch" for PyTorch, or "auto": ONNX Runtime on CPUs if the model can be
            converted, otherwise PyTorch. ONNX Runtime takes half the time, with the same scores apart from rounding,
            and torch is not imported. The first use of a model converts it, which takes seconds and needs torch.

    Raises:
        WeightsError: there is no such model, or it could not be fetched.
        CheckpointError: the file is no model.
        ScoringError: the device is not present, or is no CPU although the runtime is "onnx".
        RuntimeMissing: the runtime is "onnx", and it is not installed, or the model cannot be converted or kept.
    """

    _features = False  # True if scores have the features of their photos

    def __init__(
        self,
        model: str | os.PathLike[str] | None = None,
        *,
        device: str = "auto",
        batch_size: int = 16,
        threads: int | None = None,
        cache: ScoreCache | None = None,
        appearance: bool = False,
        thumbnails: bool = False,
        runtime: Runtime = "auto",
    ) -> None:
        path = find_model(DEFAULT_MODEL if model is None else os.fspath(model))
        header = read_header(path)
        sha256 = sha256_of_model(path)
        self.model = f"{header.metadata.get('name', one_line(path.stem))}@{sha256[:8]}"
        self.population = Population.of_model(header.metadata)
        self.preparation = header.preparation
        self._network, self.device = open_network(path, runtime, device, self._features)
        self._batch_size = batch_size
        self._threads = threads or os.cpu_count() or 1
        self._cache = cache
        self._appearance = appearance or thumbnails
        self._thumbnails = thumbnails
        self._second: Scorer | None = None
        self._cache_key = f"{sha256}/{PREPARATION_REVISION}"

    def beside(self, second: Scorer) -> Scorer:
        """Sets a second scorer, whose score of each photo is `Score.second` from now on; returns this scorer.

        A photo is opened once for both.
        """
        self._second = second
        return self

    def score(self, photos: PhotoSource | Iterable[PhotoSource]) -> Iterator[Score]:
        """Scores one photo or many, in order.

        A photo that cannot be read gives a score with an error. At most two batches are read ahead, so that any number
        of photos takes the same memory.

        Args:
            photos: one photo, or any iterable of photos. A photo is a path, the bytes of a file, a file opened with
                "rb", an image of Pillow's, or RGB pixels uint8 `[H, W, 3]`. A path names one file, no folder.

        Raises:
            TypeError: this is neither a photo nor an iterable of photos; for a photo in an iterable when it is reached.
            CacheError: the cache cannot be used.
        """
        if is_photo_source(photos):
            return self._scores(iter([photos]))
        if not isinstance(photos, Iterable):
            raise TypeError(
                f"Pass a photo (a path, bytes, an open file, an image, an array) or an iterable of photos, not a value "
                f"of type {type(photos).__name__}."
            )
        return self._scores(iter(cast(Iterable[PhotoSource], photos)))

    def _scores(self, waiting: Iterator[PhotoSource]) -> Iterator[Score]:
        pool = ThreadPoolExecutor(self._threads)
        try:
            ahead: deque[Future[tuple[_Prepared | Score, _Prepared | Score | None]]] = deque()
            while True:
                for photo in islice(waiting, 2 * self._batch_size - len(ahead)):
                    ahead.append(pool.submit(self._prepare, photo))
                if not ahead:
                    return
                batch = [ahead.popleft().result() for _ in range(min(self._batch_size, len(ahead)))]
                scores = self._score([first for first, _ in batch])
                seconds = self._second._score([second for _, second in batch if second]) if self._second else iter(())
                for score, (_, second) in zip(scores, batch, strict=True):
                    yield score if second is None else replace(score, second=next(seconds))
        finally:
            pool.shutdown(cancel_futures=True)  # Ctrl-C need not wait for photos that are read ahead

    def _prepare(self, photo: PhotoSource) -> tuple[_Prepared | Score, _Prepared | Score | None]:
        """Decodes a photo for this model and for the second, which may be None.

        Returns a score in place of an input if the cache has it, or if the photo is unreadable.
        """
        path = path_of(photo)
        file = self._cache.identify(Path(path)) if self._cache is not None and path else None
        known = self._known(path, file)
        second: _Prepared | Score | None = self._second._known(path, file) if self._second is not None else None
        if known is not None and (self._second is None or second is not None):
            return known, second
        try:
            # The model learnt from AVA's photos: larger photos are reduced to their size, others stay as they are.
            opened = read_photo(photo, long_side=self.preparation.long_side)
        except PhotoError as error:
            return Score.failed(path, self.model, str(error)).ranked_in(self.population), None
        if self._second is not None and second is None:
            second = self._second._input(path, file, opened)
        return known or self._input(path, file, opened), second

    def _known(self, path: str, file: HashedFile | None) -> Score | None:
        """Returns the score of a file that the cache has with all that was asked for; None if it has not."""
        if self._cache is None or file is None:
            return None
        known = self._cache.find(file.sha256, self._cache_key)
        looks = self._cache.find_appearance(file.sha256, self._thumbnails) if self._appearance else None
        features = self._cache.find_features(file.sha256, self._cache_key) if self._features else None
        if known is None or (looks is None and self._appearance) or (features is None and self._features):
            return None
        score = Score.of(path, known.probabilities, self.model, known.width, known.height, looks, features)
        return score.ranked_in(self.population)

    def _input(self, path: str, file: HashedFile | None, photo: Photo) -> _Prepared:
        image = self.preparation.rgb_bytes(photo.image)
        looks = appearance_of(photo, self._thumbnails) if self._appearance else None
        return _Prepared(path, image, photo.width, photo.height, file, looks)

    def _score(self, batch: list[_Prepared | Score]) -> Iterator[Score]:
        prepared = [photo for photo in batch if isinstance(photo, _Prepared)]
        predicted, features = self._outputs([photo.image for photo in prepared]) if prepared else ([], [])
        if self._cache is not None:
            found = zip(prepared, predicted, strict=True)
            self._cache.add(
                self._cache_key,
                ((photo.file, KnownScore(tuple(p), photo.width, photo.height)) for photo, p in found if photo.file),
            )
            described = zip(prepared, features, strict=True)
            self._cache.add_features(
                self._cache_key, ((photo.file, row) for photo, row in described if photo.file and row is not None)
            )
            self._cache.add_appearances(
                (photo.file, photo.appearance) for photo in prepared if photo.file and photo.appearance
            )
        outputs = zip(predicted, features, strict=True)
        for photo in batch:
            if isinstance(photo, Score):
                yield photo
            else:
                p, row = next(outputs)
                score = Score.of(photo.path, p, self.model, photo.width, photo.height, photo.appearance, row)
                yield score.ranked_in(self.population)

    def predict(self, images: Sequence[NDArray[np.uint8]]) -> list[list[float]]:
        """Returns the probabilities of the ratings 1 to 10 for each prepared photo, RGB bytes `[side, side, 3]`."""
        return self._outputs(images)[0]

    def _outputs(
        self, images: Sequence[NDArray[np.uint8]]
    ) -> tuple[list[list[float]], Sequence[NDArray[np.float16] | None]]:
        """Returns the probabilities and the features of prepared photos; None for each photo without features."""
        probabilities, features = self._network(np.stack(images))
        if features is None:
            return probabilities.tolist(), [None] * len(images)
        return probabilities.tolist(), list(features.clip(-_LARGEST, _LARGEST).astype(np.float16))


class FeatureScorer(Scorer):
    """A scorer that gives each score the features of its photo, from which a head can be trained."""

    _features = True


@dataclass(frozen=True)
class _Prepared:
    """A decoded photo that waits for the network: `image` is uint8 `[side, side, 3]`; `file` is for the cache."""

    path: str
    image: NDArray[np.uint8]
    width: int
    height: int
    file: HashedFile | None
    appearance: Appearance | None
