"""Makes photos smaller, with antialiasing: Pillow's Lanczos, computed by PyTorch if that is faster."""

from __future__ import annotations

from functools import cache

import numpy as np
from PIL import Image

_MOST_PIXELS = 30_000_000  # limit of the pixels that are copied for PyTorch; beyond it, memory matters more than time


def reduced(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Resizes an RGB image to a smaller size (width, height), in pixels.

    Pillow's and PyTorch's results differ by 1 in some values.
    """
    if image.width * image.height > _MOST_PIXELS or not _torch_is_faster():
        return image.resize(size, Image.Resampling.LANCZOS)
    import torch

    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).unsqueeze(0)
    small = torch.nn.functional.interpolate(pixels, size[::-1], mode="lanczos", antialias=True)
    return Image.fromarray(small[0].permute(1, 2, 0).contiguous().numpy())


@cache
def _torch_is_faster() -> bool:
    """Returns True if PyTorch has this filter (from 2.13 on) and the processor has AVX2: it then needs half of
    Pillow's time.
    """
    import torch

    if not torch.backends.cpu.get_cpu_capability().startswith("AVX"):
        return False
    try:
        torch.nn.functional.interpolate(torch.zeros(1, 3, 4, 4).byte(), (2, 2), mode="lanczos", antialias=True)
    except (NotImplementedError, ValueError):
        return False
    return True
