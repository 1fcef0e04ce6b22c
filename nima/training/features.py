"""Computes the features of photos with a frozen backbone, which are all that the training of the head needs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from nima.model import Nima

_LARGEST = float(np.finfo(np.float16).max)


def embed(model: Nima, jpegs: Sequence[bytes], batch_size: int = 32) -> NDArray[np.float16]:
    """Computes standardised features, float16 `[n, features]`, of n stored images, from their central crops.

    The batch size changes the features by rounding only; values outside fp16's range are clipped to ±65504. Raises
    `PreparationError` if an image cannot be decoded or is too small.
    """
    model.eval()
    features = [np.empty((0, model.head.in_features), dtype=np.float16)]
    with torch.inference_mode():
        for start in range(0, len(jpegs), batch_size):
            pixels = model.preparation.central_crops(jpegs[start : start + batch_size])
            # A value beyond fp16's range is so extreme that its exact size does not matter.
            features.append(model.features(pixels).clamp(-_LARGEST, _LARGEST).half().numpy())
    return np.concatenate(features)
