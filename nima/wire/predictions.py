"""Reads and writes the result of an evaluation: rating probabilities of a shard's images.

A safetensors file with image_ids, int64 `[n]`, and probabilities, float32 `[n, 10]`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from nima.errors import NimaError
from nima.ratings import BUCKETS
from nima.safe_io import FileError, read_bounded, write_atomically

_HEADER_BYTES = 4096
_SUM_TOLERANCE = 1e-3


class PredictionsError(NimaError):
    """A file of predictions breaks the format, or cannot be written."""


def max_predictions_bytes(images: int) -> int:
    """Returns the largest size in bytes of a valid file of predictions for `images` images."""
    return images * (8 + 4 * BUCKETS) + _HEADER_BYTES


def encode_predictions(path: Path, image_ids: NDArray[np.int64], probabilities: NDArray[np.float32]) -> None:
    """Writes ids `[n]` and probabilities `[n, 10]` to `path`, atomically.

    Raises `PredictionsError` if the file cannot be written.
    """
    try:
        write_atomically(path, save({"image_ids": image_ids, "probabilities": probabilities}))
    except OSError as error:
        raise PredictionsError(f"{path} could not be written: {error.strerror}.") from error


def decode_predictions(path: Path, image_ids: NDArray[np.int64]) -> NDArray[np.float32]:
    """Reads the probabilities, float32 `[n, 10]`, of exactly the images `image_ids` `[n]`, in this order.

    Raises `PredictionsError` if the file is too large (without reading it), is no safetensors file, is of other images,
    or has rows that are no distributions.
    """
    try:
        tensors = load(read_bounded(path, max_predictions_bytes(len(image_ids))))
    except FileError as error:
        raise PredictionsError(str(error)) from error
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise PredictionsError(f"{path} was refused: it is no safetensors file.") from error
    if tensors.keys() != {"image_ids", "probabilities"}:
        raise PredictionsError(f"{path} was refused: it does not hold image_ids and probabilities alone.")
    ids, probabilities = tensors["image_ids"], tensors["probabilities"]
    if ids.dtype != np.int64 or not np.array_equal(ids, image_ids):
        raise PredictionsError(f"{path} was refused: it is not about the images that were asked for.")
    if probabilities.dtype != np.float32 or probabilities.shape != (len(image_ids), BUCKETS):
        raise PredictionsError(f"{path} was refused: its probabilities are not float32 [{len(image_ids)}, 10].")
    # The comparisons are written so that NaN fails, too.
    if not ((probabilities >= 0).all() and (abs(probabilities.sum(axis=1) - 1) < _SUM_TOLERANCE).all()):
        raise PredictionsError(f"{path} was refused: a row is not a distribution.")
    return probabilities
