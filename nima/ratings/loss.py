"""Computes the earth mover's distance between rating distributions, the loss that NIMA is trained with."""

from __future__ import annotations

import torch
from torch import Tensor


def emd(p: Tensor, q: Tensor, r: float = 2.0) -> Tensor:
    r"""Computes the normalised earth mover's distance of each image, and returns the mean over the images.

    .. math:: \frac{1}{B} \sum_b \Bigl( \frac{1}{N} \sum_k |CDF_{p_b}(k) - CDF_{q_b}(k)|^r \Bigr)^{1/r}

    Source: Talebi and Milanfar, "NIMA: Neural Image Assessment", 2017, eq. 1; r = 2 in training, r = 1 in reports. The
    root is taken for each image: a root over the whole batch would give a result that is about 18% too high.

    Args:
        p, q: probabilities `[B, N]` over N ordered buckets, each row with sum 1.
        r: the exponent, at least 1.

    Returns:
        A scalar tensor of the dtype of `p`, 0 for equal distributions, below 1. The root has no derivative at 0, so
        the gradient of equal distributions is set to 0.

    Raises:
        ValueError: the shapes differ or are not `[B, N]`, or r is below 1.

    Example:
        >>> import torch
        >>> ratings = torch.eye(10)  # row k: everybody gives the rating k + 1
        >>> emd(ratings[[0]], ratings[[9]], r=1)  # all of the mass moves by nine of ten buckets
        tensor(0.9000)
    """
    if p.ndim != 2 or p.shape != q.shape:
        raise ValueError(f"emd needs two [B, N] tensors of equal shape, not {tuple(p.shape)} and {tuple(q.shape)}")
    if r < 1:
        raise ValueError(f"emd needs r of at least 1, not {r}")
    distance = torch.cumsum(p - q, dim=1).abs()
    if r == 1:
        return distance.mean()
    power = distance.pow(r).mean(dim=1)
    # d/dx x^(1/r) is infinite at 0 and inf · 0 is NaN, so equal pairs skip the root.
    equal = power == 0
    return torch.where(equal, power, torch.where(equal, 1.0, power).pow(1 / r)).mean()
