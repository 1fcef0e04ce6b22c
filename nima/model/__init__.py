"""Defines the network: backbone and head, how a photo becomes its input, checkpoint, card and export.

Example:
    >>> import tempfile
    >>> from pathlib import Path
    >>> from nima.model import checkpoint, initial_model
    >>> from PIL import Image
    >>> model = initial_model("mobilenet_v1", pretrained=None, seed=0).eval()  # random weights
    >>> photo = Image.new("RGB", (640, 480), "grey")
    >>> pixels = model.preparation.central_crop(model.preparation.store(photo))
    >>> pixels.shape, model(pixels.unsqueeze(0)).shape
    (torch.Size([3, 224, 224]), torch.Size([1, 10]))
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = Path(folder.name, "model.safetensors")
    >>> checkpoint.save(path, model, {"name": "drawn"})
    >>> loaded, metadata = checkpoint.load(path)
    >>> loaded.backbone, metadata
    ('mobilenet_v1', {'name': 'drawn', 'preparation': 'middle'})
    >>> folder.cleanup()
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nima.lazy import attach

if TYPE_CHECKING:
    from nima.model import checkpoint as checkpoint
    from nima.model.backbones import BackboneError, backbone_tensor_names, find_backbone, load_classifier_state
    from nima.model.card import card_facts, front_matter, model_card, model_limits
    from nima.model.checkpoint_header import CheckpointError, CheckpointHeader, read_header
    from nima.model.exporting import ExportError, export_model
    from nima.model.fusion import fold_batch_norms
    from nima.model.mobilenet_v1 import MobileNetV1
    from nima.model.network import Activations, Nima, initial_model
    from nima.model.preparation import GRAPH_INPUT, GRAPH_OUTPUTS, PREPARATION_REVISION, Preparation, pixels_of
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "backbones": ["BackboneError", "find_backbone", "load_classifier_state", "backbone_tensor_names"],
            "card": ["card_facts", "front_matter", "model_card", "model_limits"],
            "checkpoint": [],
            "checkpoint_header": ["CheckpointError", "CheckpointHeader", "read_header"],
            "exporting": ["ExportError", "export_model"],
            "fusion": ["fold_batch_norms"],
            "mobilenet_v1": ["MobileNetV1"],
            "network": ["Activations", "Nima", "initial_model"],
            "preparation": ["GRAPH_INPUT", "GRAPH_OUTPUTS", "PREPARATION_REVISION", "Preparation", "pixels_of"],
        },
    )

__all__ = [
    "GRAPH_INPUT",
    "GRAPH_OUTPUTS",
    "PREPARATION_REVISION",
    "Activations",
    "BackboneError",
    "CheckpointError",
    "CheckpointHeader",
    "ExportError",
    "MobileNetV1",
    "Nima",
    "Preparation",
    "backbone_tensor_names",
    "card_facts",
    "checkpoint",
    "export_model",
    "find_backbone",
    "fold_batch_norms",
    "front_matter",
    "initial_model",
    "load_classifier_state",
    "model_card",
    "model_limits",
    "pixels_of",
    "read_header",
]
