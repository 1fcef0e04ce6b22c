"""Makes images of noise with equal votes, to time a machine before any photo is sent to it."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from nima.wire import Shard


def synthetic_shard(images: int, size: int) -> Shard:
    """Makes a shard of `images` JPEGs of `size` × `size` pixels, always the same."""
    random = np.random.default_rng(0)
    jpegs = []
    for _ in range(images):
        buffer = io.BytesIO()
        Image.fromarray(random.integers(0, 256, (size, size, 3), dtype=np.uint8)).save(buffer, "JPEG")
        jpegs.append(buffer.getvalue())
    return Shard(np.arange(images), np.ones((images, 10), dtype=np.int32), jpegs)
