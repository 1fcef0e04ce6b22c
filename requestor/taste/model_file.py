"""Writes the model of the owner's taste: the model that it started from, with a head that expresses the taste."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from nima.ava import Dataset
from nima.model import checkpoint
from nima.safe_io import sha256_of
from nima.weights import TASTE, own_model_path
from requestor.errors import ConfigurationError
from requestor.taste.learning import Tilt

_OWN_STARS = Dataset("the owner's rated photos", raters="the owner of the photos", licence="the owner's", private=True)


def save_taste(start: Path, tilt: Tilt, start_name: str, rated: int, data: str) -> Path:
    """Writes the model of the owner's taste where `--model taste` finds it; returns its path.

    Args:
        start: file of the model whose features the tilt is for.
        tilt: the owner's taste.
        start_name: name of that model, for the card.
        rated: number of photos that the taste was learnt from.
        data: a line for the card about these photos and about the quality of the model.

    Raises:
        CheckpointError: `start` is no model, or the file cannot be written.
        ConfigurationError: the folder of the user's models cannot be made.
    """
    model, about = checkpoint.load(start)
    steps = np.arange(1, 11) - 5.5  # a common summand of all logits changes nothing; the middle one keeps them small
    weight = np.outer(steps, tilt.direction)
    bias = steps * (tilt.offset - tilt.centre @ tilt.direction)
    with torch.no_grad():
        model.head.weight.add_(torch.from_numpy(weight))
        model.head.bias.add_(torch.from_numpy(bias))
    metadata: dict[str, Any] = {
        "name": TASTE,
        "backbone": model.backbone,
        "data": data,
        "dataset": _OWN_STARS.as_json(),
        "train_images": rated,
        "starting_weights": start_name,
        "starting_weights_sha256": sha256_of(start),
        **{key: about[key] for key in ("licence", "source") if key in about},
    }
    path = own_model_path(TASTE)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"{path.parent} cannot be made ({error.strerror}); set XDG_DATA_HOME to a folder that can be written."
        ) from error
    checkpoint.save(path, model, metadata)
    return path
