"""Defines the network: backbone and head, how a photo becomes its input, checkpoint, card and export."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nima.lazy import attach

if TYPE_CHECKING:
    from nima.model import checkpoint as checkpoint
    from nima.model.backbones import BackboneError, find_backbone, load_classifier_state, names_in_use
    from nima.model.card import LIMITS, facts, model_card
    from nima.model.checkpoint import encode, read_metadata
    from nima.model.exporting import INPUT, OUTPUTS, export
    from nima.model.fusion import fold_batch_norms
    from nima.model.mobilenet_v1 import FEATURES, SEPARABLE, MobileNetV1
    from nima.model.network import Activations, Nima, initial_model
    from nima.model.preparation import REVISION, Preparation, bytes_of
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "backbones": ["BackboneError", "find_backbone", "load_classifier_state", "names_in_use"],
            "card": ["LIMITS", "facts", "model_card"],
            "checkpoint": ["encode", "read_metadata"],
            "exporting": ["INPUT", "OUTPUTS", "export"],
            "fusion": ["fold_batch_norms"],
            "mobilenet_v1": ["FEATURES", "MobileNetV1", "SEPARABLE"],
            "network": ["Activations", "Nima", "initial_model"],
            "preparation": ["Preparation", "REVISION", "bytes_of"],
        },
    )

__all__ = [
    "FEATURES",
    "INPUT",
    "LIMITS",
    "OUTPUTS",
    "REVISION",
    "SEPARABLE",
    "Activations",
    "BackboneError",
    "MobileNetV1",
    "Nima",
    "Preparation",
    "bytes_of",
    "checkpoint",
    "encode",
    "export",
    "facts",
    "find_backbone",
    "fold_batch_norms",
    "initial_model",
    "load_classifier_state",
    "model_card",
    "names_in_use",
    "read_metadata",
]
