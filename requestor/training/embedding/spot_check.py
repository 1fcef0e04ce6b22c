"""Checks features from providers: computes those of a few photos again on this machine, and compares."""

from __future__ import annotations

import math
import secrets

import numpy as np
from numpy.typing import NDArray

from nima.model import Nima
from nima.training import embed
from nima.wire import Shard

SHARE = 0.01  # share of a shard's photos that is checked
AT_LEAST = 3  # least number that is checked: who invents half of a small shard's features is found out in 7 of 8 cases
TOLERANCE = 0.1
"""Largest difference of a feature that is accepted. The unit is the feature's standard deviation over photos, and two
units in the last place of fp16 are subtracted before.

It was chosen by measurements with MobileNetV2 on a CPU with AVX-512. Features of honest providers differ by 0.00003 at
most: batches of 1 or 32, one thread or two, SSE 4.1, AVX2 or AVX-512, with oneDNN or without; three networks with
random weights differ no more. Of wrong features, the worst one of a photo differs by at least 0.26 if the JPEG was
compressed again, 0.7 if it was computed in bfloat16, 1.1 if the photo was mirrored, and 3.6 if it is of another photo.
So wrong features that pass the check are at worst a little noise on the head's input, where dropout adds far more.
"""
_ROUNDING = 2.0**-9  # two units in the last place of fp16, relative to the value


def spot_check(model: Nima, shard: Shard, claimed: NDArray[np.float16]) -> str | None:
    """Computes the features of a few photos of a shard, and compares them with those that a provider claims.

    Nobody can predict which photos are chosen: the choice does not depend on the run's seed, which providers may know.

    Args:
        model: the base model.
        shard: n photos.
        claimed: the features of all photos of the shard, float16 `[n, features]`.

    Returns:
        The reason why the features are wrong; None if no error was found.
    """
    checked = min(len(shard), max(AT_LEAST, math.ceil(SHARE * len(shard))))
    rows = secrets.SystemRandom().sample(range(len(shard)), checked)
    computed = embed(model, [shard.jpegs[row] for row in rows])
    off = deviations(claimed[rows], computed)
    if (off <= TOLERANCE).all():
        return None
    worst = int(off.argmax())
    return (
        f"its features of photo {shard.image_ids[rows[worst]]} are not those of the photo: "
        f"one is {off[worst]:.2g} standard deviations off"
    )


def deviations(claimed: NDArray[np.float16], computed: NDArray[np.float16]) -> NDArray[np.float64]:
    """Returns the largest difference between claimed and computed features `[n, features]` for each photo, `[n]`.

    The unit is a feature's standard deviation; differences that rounding to fp16 explains count as 0.
    """
    there, here = claimed.astype(np.float64), computed.astype(np.float64)
    worst: NDArray[np.float64] = np.maximum(abs(there - here) - _ROUNDING * abs(here), 0).max(axis=1)
    return worst
