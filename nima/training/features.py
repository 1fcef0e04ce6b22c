"""Computes the features of photos with a frozen backbone, which are all that the training of the head needs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from nima.model import Nima
from nima.training.activations import MICRO_BATCH

_LARGEST = float(np.finfo(np.float16).max)


def embed(model: Nima, jpegs: Sequence[bytes], batch_size: int = MICRO_BATCH) -> NDArray[np.float16]:
    """Computes standardised features, float16 `[n, features]`, of n stored images, from their central crops.

    The batch size changes the features by rounding only; values outside fp16's range are clipped to ±65504. Raises
    `PreparationError` if an image cannot be decoded or is too small.
    """
    none = np.empty((0, model.head.in_features), dtype=np.float16)
    return np.concatenate([none, *embedded_parts(model, jpegs, batch_size)])


def embedded_parts(model: Nima, jpegs: Sequence[bytes], batch_size: int = MICRO_BATCH) -> Iterator[NDArray[np.float16]]:
    """Yields the result of `embed` in parts of `batch_size` images, each as soon as it is computed."""
    model.eval()
    for start in range(0, len(jpegs), batch_size):
        with torch.inference_mode():
            features = model.features(model.preparation.central_crops(jpegs[start : start + batch_size]))
            # A value beyond fp16's range is so extreme that its exact size does not matter.
            part = features.clamp(-_LARGEST, _LARGEST).half().numpy()
        yield part
