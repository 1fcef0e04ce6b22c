"""Trains a model in one local run: tensors in, tensors out.

Example:
    >>> from PIL import Image
    >>> from nima.model import initial_model
    >>> from nima.training import embed, predict, train_head
    >>> from nima.wire import default_plan
    >>> model = initial_model("mobilenet_v1", pretrained=None, seed=0)  # random weights
    >>> photos = [model.preparation.store(Image.new("RGB", (64, 64), colour)) for colour in ("red", "blue")]
    >>> features = embed(model, photos)
    >>> report = train_head(model, features, votes=[[1] * 10, [0] * 9 + [5]], plan=default_plan(images=2, seed=0))
    >>> features.shape, report.steps, predict(model, photos).shape
    ((2, 1024), 2, (2, 10))
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nima.lazy import attach

if TYPE_CHECKING:
    from nima.training.activations import MICRO_BATCH, FrozenSource, frozen_activations
    from nima.training.commitments import (
        StateError,
        TrainingState,
        max_state_bytes,
        points,
        read_state,
        write_state,
    )
    from nima.training.features import embed, embedded_parts
    from nima.training.head import train_head
    from nima.training.loop import Course, predict, standardise_features, train
    from nima.training.remembered import RememberedActivations
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "activations": ["MICRO_BATCH", "FrozenSource", "frozen_activations"],
            "commitments": ["StateError", "TrainingState", "max_state_bytes", "points", "read_state", "write_state"],
            "features": ["embed", "embedded_parts"],
            "head": ["train_head"],
            "loop": ["Course", "predict", "standardise_features", "train"],
            "remembered": ["RememberedActivations"],
        },
    )

__all__ = [
    "MICRO_BATCH",
    "Course",
    "FrozenSource",
    "RememberedActivations",
    "StateError",
    "TrainingState",
    "embed",
    "embedded_parts",
    "frozen_activations",
    "max_state_bytes",
    "points",
    "predict",
    "read_state",
    "standardise_features",
    "train",
    "train_head",
    "write_state",
]
