"""Trains a model in one local run: tensors in, tensors out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nima.lazy import attach

if TYPE_CHECKING:
    from nima.training.features import embed
    from nima.training.loop import frozen_activations, predict, standardise_features, train, train_head
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "features": ["embed"],
            "loop": ["frozen_activations", "predict", "standardise_features", "train", "train_head"],
        },
    )

__all__ = ["embed", "frozen_activations", "predict", "standardise_features", "train", "train_head"]
