"""Are these the features of these photos? A few are computed again on this machine."""

from __future__ import annotations

import math
import secrets

import numpy as np
from numpy.typing import NDArray

from nima.model import Nima
from nima.training import embed
from nima.wire import Shard

SHARE = 0.01  # of a shard's photos …
AT_LEAST = 3  # … so that who invents the features of half a small shard is caught seven times out of eight
TOLERANCE = 0.1
"""Largest honest difference of a feature, in its standard deviations over photos, beyond two units of fp16's last
place.

Measured on a CPU with AVX-512, for MobileNetV2: batches of 1 or 32, one thread or two, SSE 4.1, AVX2 or AVX-512, with
oneDNN or without, differ by 0.00003 at most, and three networks with random weights no more. Of what is wrong, the
worst feature of a photo is off by at least 0.26 where the JPEG was compressed again, 0.7 where it was computed in
bfloat16, 1.1 where it was mirrored, and 3.6 where it is another photo's. So what passes is at worst a little noise on
the head's input, where dropout puts far more.
"""
_ROUNDING = 2.0**-9  # two units in the last place of fp16, relative to the value


def spot_check(model: Nima, shard: Shard, claimed: NDArray[np.float16]) -> str | None:
    """What is wrong with the features `[n, features]` that somebody claims a shard's photos have, or None.

    Which photos are looked at is nobody's to foresee: it does not follow from the run's seed, which providers may know.
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
    """How far claimed features `[n, features]` are from those computed here: of each photo, its worst feature `[n]`.

    In standard deviations, beyond what rounding to fp16 explains.
    """
    there, here = claimed.astype(np.float64), computed.astype(np.float64)
    worst: NDArray[np.float64] = np.maximum(abs(there - here) - _ROUNDING * abs(here), 0).max(axis=1)
    return worst
