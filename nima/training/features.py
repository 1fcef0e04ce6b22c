"""Computes what a frozen backbone sees in photos, which is all that training the head needs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from nima.model import Nima

_LARGEST = float(np.finfo(np.float16).max)


def embed(model: Nima, jpegs: Sequence[bytes], batch_size: int = 32) -> NDArray[np.float16]:
    """Computes standardised features float16 `[n, features]` of stored images, from their central crops.

    The batch size changes them by rounding only. Raises `PreparationError` where an image cannot be decoded.
    """
    model.eval()
    features = [np.empty((0, model.head.in_features), dtype=np.float16)]
    with torch.inference_mode():
        for start in range(0, len(jpegs), batch_size):
            pixels = model.preparation.central_crops(jpegs[start : start + batch_size])
            # What is so far out that fp16 cannot say how far is as good as anything else out there.
            features.append(model.features(pixels).clamp(-_LARGEST, _LARGEST).half().numpy())
    return np.concatenate(features)
