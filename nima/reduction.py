"""Photos made smaller, with antialiasing: Pillow's Lanczos, computed by PyTorch where that is faster."""

from __future__ import annotations

from functools import cache

import numpy as np
from PIL import Image

_MOST_PIXELS = 30_000_000  # of what is copied for PyTorch; beyond, memory matters more than time


def reduced(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """An RGB image at a smaller size (width, height), in pixels; which of the two computes it changes a value by 1 at
    times."""
    if image.width * image.height > _MOST_PIXELS or not _torch_is_faster():
        return image.resize(size, Image.Resampling.LANCZOS)
    import torch

    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).unsqueeze(0)
    small = torch.nn.functional.interpolate(pixels, size[::-1], mode="lanczos", antialias=True)
    return Image.fromarray(small[0].permute(1, 2, 0).contiguous().numpy())


@cache
def _torch_is_faster() -> bool:
    """PyTorch from 2.13 has this filter, and half of Pillow's time for it, where the processor has AVX2."""
    import torch

    if not torch.backends.cpu.get_cpu_capability().startswith("AVX"):
        return False
    try:
        torch.nn.functional.interpolate(torch.zeros(1, 3, 4, 4).byte(), (2, 2), mode="lanczos", antialias=True)
    except (NotImplementedError, ValueError):
        return False
    return True
