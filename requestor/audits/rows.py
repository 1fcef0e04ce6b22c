"""Checks features and predictions of photos: computes those of some photos again on this machine, and compares."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nima.model import Nima
from nima.training import embed, predict
from nima.wire import Shard
from requestor.audits.sampling import chosen_rows

FEATURE_TOLERANCE = 0.1
"""Largest difference of a feature that is accepted. The unit is the feature's standard deviation over photos, and two
units in the last place of fp16 are subtracted before.

It was chosen by measurements with MobileNetV2 on a CPU with AVX-512. Features of honest providers differ by 0.00003 at
most: batches of 1 or 32, one thread or two, SSE 4.1, AVX2 or AVX-512, with oneDNN or without; three networks with
random weights differ no more. Of wrong features, the worst one of a photo differs by at least 0.26 if the JPEG was
compressed again, 0.7 if it was computed in bfloat16, 1.1 if the photo was mirrored, and 3.6 if it is of another photo.
So wrong features that pass the check are at worst a little noise on the head's input, where dropout adds far more.
"""
PREDICTION_TOLERANCE = 1e-3
"""Largest difference of a rating's probability that is accepted."""
_ROUNDING = 2.0**-9  # two units in the last place of fp16, relative to the value


def check_features(model: Nima, shard: Shard, claimed: NDArray[np.float16], share: float) -> str | None:
    """Computes the features of some photos of a shard, and compares them with those that a provider claims.

    Args:
        model: the base model.
        shard: n photos.
        claimed: the features of all photos of the shard, float16 `[n, features]`.
        share: share of the photos that is computed again, 0 to 1.

    Returns:
        The reason why the features are wrong; None if no error was found.
    """
    rows = chosen_rows(len(shard), share)
    if not rows:
        return None
    off = deviations(claimed[rows], embed(model, [shard.jpegs[row] for row in rows]))
    worst = int(off.argmax())
    if off[worst] <= FEATURE_TOLERANCE:
        return None
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


def check_predictions(model: Nima, shard: Shard, claimed: NDArray[np.float32], share: float) -> tuple[int, str | None]:
    """Predicts some photos of a shard again, and compares the probabilities with those that a provider claims.

    Args:
        model: the model that predicts.
        shard: n photos.
        claimed: the probabilities of all photos of the shard, float32 `[n, 10]`.
        share: share of the photos that is computed again, 0 to 1.

    Returns:
        The number of photos that were computed again, and the reason why the predictions are wrong; None if no error
        was found.
    """
    rows = chosen_rows(len(shard), share)
    if not rows:
        return 0, None
    off = abs(claimed[rows].astype(np.float64) - predict(model, [shard.jpegs[row] for row in rows])).max(axis=1)
    worst = int(off.argmax())
    if off[worst] <= PREDICTION_TOLERANCE:
        return len(rows), None
    return len(rows), (
        f"its prediction for photo {shard.image_ids[rows[worst]]} is not the model's: "
        f"a probability is {off[worst]:.2g} off"
    )
