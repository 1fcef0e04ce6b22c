"""What a frozen backbone sees in photos: the head's input, computed once, and all that its training needs.

MLSP (arXiv 1904.01382) trains so: pooled features of every level of a backbone that is never touched, and a shallow
head on them. They are standardised as the model standardises them, which also is what lets fp16 hold them: a channel
whose mean is a thousand times its deviation would lose all that it says. A safetensors file has

    image_ids  int64    [n]
    features   float16  [n, features]    all finite
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from nima.errors import NimaError
from nima.safe_io import FileError, read_bounded, write_atomically

_HEADER_BYTES = 4096


class FeaturesError(NimaError):
    """A file of features that is not exactly what it must be, or features that make none."""


def max_features_bytes(images: int, size: int) -> int:
    """No valid file of so many images, with `size` features each, is larger."""
    return images * (8 + 2 * size) + _HEADER_BYTES


def encode_features(path: Path, image_ids: NDArray[np.int64], features: NDArray[np.float16]) -> None:
    """Writes ids `[n]` and features float16 `[n, features]` to `path`, atomically.

    Raises `FeaturesError` where a feature is not finite (beyond 65504, fp16 ends) or the file cannot be written.
    """
    if not np.isfinite(features).all():
        raise FeaturesError("A feature is not finite, or too large for fp16.")
    try:
        write_atomically(path, save({"image_ids": image_ids, "features": features}))
    except OSError as error:
        raise FeaturesError(f"{path} could not be written: {error.strerror}.") from error


def decode_features(path: Path, image_ids: NDArray[np.int64], size: int) -> NDArray[np.float16]:
    """Features float16 `[n, size]` of exactly these images, in this order.

    Raises `FeaturesError` for a file that is too large (without reading it), is no safetensors file, is of other
    images, or whose features have another type or shape, or are not finite.
    """
    try:
        tensors = load(read_bounded(path, max_features_bytes(len(image_ids), size)))
    except FileError as error:
        raise FeaturesError(str(error)) from error
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise FeaturesError(f"{path} was refused: it is no safetensors file.") from error
    if tensors.keys() != {"image_ids", "features"}:
        raise FeaturesError(f"{path} was refused: it does not hold image_ids and features alone.")
    ids, features = tensors["image_ids"], tensors["features"]
    if ids.dtype != np.int64 or not np.array_equal(ids, image_ids):
        raise FeaturesError(f"{path} was refused: it is not about the images that were asked for.")
    if features.dtype != np.float16 or features.shape != (len(image_ids), size):
        raise FeaturesError(f"{path} was refused: its features are not float16 [{len(image_ids)}, {size}].")
    if not np.isfinite(features).all():
        raise FeaturesError(f"{path} was refused: a feature is not finite.")
    return features
