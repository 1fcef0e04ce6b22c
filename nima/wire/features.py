"""Reads and writes the features that a frozen backbone computes: the head's input, and all that its training needs.

MLSP (arXiv 1904.01382) trains a shallow head on the pooled features of every level of a backbone that never changes.
The model standardises the features first, so that fp16 can hold them: otherwise, a channel whose mean is a thousand
times its deviation would lose all its information. A safetensors file has

    image_ids  int64    [n]
    features   float16  [n, features]    all finite
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load

from nima.errors import NimaError
from nima.safe_io import FileError, atomic_file, read_bounded

_HEADER_BYTES = 4096


class FeaturesError(NimaError):
    """A file of features breaks the format, or features cannot be written as one."""


def max_features_bytes(images: int, size: int) -> int:
    """Returns the largest size in bytes of a valid file for `images` images with `size` features each."""
    return images * (8 + 2 * size) + _HEADER_BYTES


def encode_features(path: Path, image_ids: NDArray[np.int64], features: Iterable[NDArray[np.float16]]) -> None:
    """Writes ids `[n]` and features float16 `[n, features]` to `path`, atomically.

    Args:
        path: the file to write.
        image_ids: the ids of the images.
        features: the features as one array, or in parts `[…, features]` of any number of rows, one part after another,
            so that the features of many images need not be in memory at the same time.

    Raises `FeaturesError` if a feature is not finite (fp16 ends at 65504), if there are more or fewer features than
    images, or if the file cannot be written.
    """
    parts = iter(features)
    first = next(parts)
    size, rows = first.shape[-1], 0
    try:
        with atomic_file(path) as file:
            file.write(_header(len(image_ids), size))
            file.write(image_ids.astype("<i8").tobytes())
            for part in chain([first], parts):
                if not np.isfinite(part).all():
                    raise FeaturesError("A feature is not finite, or too large for fp16.")
                rows += part.size // size
                file.write(part.astype("<f2").tobytes())
            if rows != len(image_ids):
                raise FeaturesError(f"There are features of {rows} images, but {len(image_ids)} ids.")
    except OSError as error:
        raise FeaturesError(f"{path} could not be written: {error.strerror}.") from error


def _header(images: int, size: int) -> bytes:
    """Makes the beginning of the safetensors file, as the library makes it, which cannot write a tensor in parts."""
    ids, end = 8 * images, (8 + 2 * size) * images
    header = json.dumps(
        {
            "image_ids": {"dtype": "I64", "shape": [images], "data_offsets": [0, ids]},
            "features": {"dtype": "F16", "shape": [images, size], "data_offsets": [ids, end]},
        },
        separators=(",", ":"),
    ).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header


def decode_features(path: Path, image_ids: NDArray[np.int64], size: int) -> NDArray[np.float16]:
    """Reads the features, float16 `[n, size]`, of exactly the images `image_ids` `[n]`, in this order.

    Raises `FeaturesError` if the file is too large (without reading it), is no safetensors file, is of other images, or
    has features of another type or shape, or that are not finite.
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
