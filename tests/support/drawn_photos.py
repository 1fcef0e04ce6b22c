"""Draws small pictures for tests that need images, but no photographs."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nima.model.preparation import Preparation
from nima.wire.shards import Shard


def picture(seed: int, width: int = 300, height: int = 200) -> Image.Image:
    """Draws coloured blobs: smooth enough for JPEG, different for each seed."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (6, 9, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def votes_for(images: int, seed: int = 0) -> NDArray[np.int32]:
    """Draws votes int32 `[images, 10]`, each from 1 to 39."""
    return np.random.default_rng(seed).integers(1, 40, (images, 10)).astype(np.int32)


def shard(images: int, first: int = 0, size: int = 256) -> Shard:
    """Makes a shard of that many pictures in memory."""
    preparation = Preparation(crop_from=size)
    jpegs = [preparation.store(picture(first + index), random_crops=True) for index in range(images)]
    return Shard(np.arange(first, first + images), votes_for(images, first), jpegs)


def encoded(image: Image.Image, file_format: str) -> bytes:
    """Returns an image as a file in one of Pillow's formats."""
    buffer = io.BytesIO()
    image.save(buffer, file_format)
    return buffer.getvalue()
