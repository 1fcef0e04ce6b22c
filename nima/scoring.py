"""Scores photos with a model: photos in, one `Score` each out, in order, batched, decoding beside the network."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from nima import checkpoint
from nima.backbones import Backbone
from nima.distribution import BUCKETS
from nima.errors import NimaError
from nima.files import sha256_of
from nima.photos import AVA_LONG_SIDE, PhotoError, Source, read_photo
from nima.score import Score
from nima.shards import stored_jpeg
from nima.training import central_crop
from nima.weights import WEIGHTS, Progress, fetch

DEFAULT_MODEL = "mobilenet_v1-ava"


class ScoringError(NimaError):
    """A model or a device that does not exist."""


class Scorer:
    """A model that is ready to score.

    Args:
        model: file of a checkpoint; the default model, fetched on first use, where None.
        device: "cpu", "cuda", "mps", or "auto" for the fastest that is there.
        batch_size: photos that go through the network at a time; changes scores by rounding only.
        threads: how many photos are decoded at a time; all cores where None.

    Raises:
        WeightsError: the default model could not be fetched.
        CheckpointError: the file is no model.
        ScoringError: there is no such device here.
    """

    def __init__(
        self,
        model: Path | None = None,
        *,
        device: str = "auto",
        batch_size: int = 16,
        threads: int | None = None,
    ) -> None:
        path = find_model(DEFAULT_MODEL) if model is None else model
        network, metadata = checkpoint.load(path)
        self.device = _device(device)
        self.model = f"{metadata.get('name', path.stem)}@{sha256_of(path)[:8]}"
        self._network = network.to(self.device)
        self._whole = metadata.get("preparation") == "whole"
        self._batch_size = batch_size
        self._threads = threads or os.cpu_count() or 1

    def score(self, photos: Iterable[Source]) -> Iterator[Score]:
        """Score photos (paths, bytes of files, or Pillow's images) in order; one that cannot be read gets an error.

        Reads ahead no further than two batches, so that any number of photos takes the same memory.
        """
        with ThreadPoolExecutor(self._threads) as pool:
            waiting = iter(photos)
            ahead: deque[Future[_Prepared]] = deque()
            while True:
                for photo in islice(waiting, 2 * self._batch_size - len(ahead)):
                    ahead.append(pool.submit(self._prepare, photo))
                if not ahead:
                    return
                batch = [ahead.popleft().result() for _ in range(min(self._batch_size, len(ahead)))]
                yield from self._score(batch)

    def _prepare(self, photo: Source) -> _Prepared:
        path = str(photo) if isinstance(photo, (str, Path)) else ""
        try:
            # The model learnt from AVA's photos: larger ones are brought to their size, others left alone.
            opened = read_photo(photo, long_side=AVA_LONG_SIDE)
        except PhotoError as error:
            return _Prepared(path, None, None, None, str(error))
        prepare = whole_photo if self._whole else stored_photo
        return _Prepared(path, prepare(opened.image, self._network.entry), opened.width, opened.height, None)

    def _score(self, batch: list[_Prepared]) -> Iterator[Score]:
        pixels = [photo.pixels for photo in batch if photo.pixels is not None]
        predicted = iter(self._predict(torch.stack(pixels)) if pixels else np.empty((0, BUCKETS)))
        for photo in batch:
            if photo.error is not None:
                yield Score.failed(photo.path, self.model, photo.error)
            else:
                assert photo.width is not None
                assert photo.height is not None
                yield Score.of(photo.path, next(predicted), self.model, photo.width, photo.height)

    def _predict(self, pixels: Tensor) -> NDArray[np.float64]:
        with torch.inference_mode():
            logits = self._network(pixels.to(self.device))
        # In float64 the ten add up to 1 as closely as anyone will check.
        probabilities: NDArray[np.float64] = logits.cpu().double().softmax(dim=1).numpy()
        return probabilities


@dataclass(frozen=True)
class _Prepared:
    """A photo on its way: `pixels` is float32 `[3, H, W]` in 0..1, or None where `error` says why."""

    path: str
    pixels: Tensor | None
    width: int | None
    height: int | None
    error: str | None


def whole_photo(image: Image.Image, entry: Backbone) -> Tensor:
    """An RGB photo squeezed to the network's input in one step: float32 `[3, H, W]` in 0..1."""
    squeezed = image.resize((entry.input_size, entry.input_size), entry.resampling)
    return torch.from_numpy(np.array(squeezed)).permute(2, 0, 1).float().div(255)


def stored_photo(image: Image.Image, entry: Backbone) -> Tensor:
    """An RGB photo as it would come out of a shard, so that here and on providers the same photo scores the same:
    float32 `[3, H, W]` in 0..1."""
    return central_crop(stored_jpeg(image, entry.stored_size, entry.resampling), entry.input_size)


def find_model(name: str, progress: Progress | None = None) -> Path:
    """The file of a model, by its path or by its name in the table of weights, fetched where it has to be.

    Raises `ScoringError` where there is neither, `WeightsError` where it could not be fetched.
    """
    if name in WEIGHTS:
        return fetch(name, progress)
    path = Path(name)
    if not path.is_file():
        raise ScoringError(
            f"There is no model {name!r}: give the path of one, or a name from `nima-golem models list`."
        )
    return path


def _device(name: str) -> torch.device:
    present: dict[str, Callable[[], bool]] = {
        "cuda": torch.cuda.is_available,
        "mps": torch.backends.mps.is_available,
        "cpu": lambda: True,
    }
    if name == "auto":
        name = next(device for device, is_present in present.items() if is_present())
    if name not in present or not present[name]():
        raise ScoringError(f"There is no device {name!r} here; choose cpu, or auto for the fastest that there is.")
    return torch.device(name)
