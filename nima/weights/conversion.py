"""Converts published weights to safetensors of exactly those tensors that a backbone uses, with torchvision's names."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from nima.model import BackboneError, backbone_tensor_names, find_backbone, load_classifier_state


def torchvision_state(path: Path, backbone: str) -> bytes:
    """Converts a state that torchvision saved to safetensors, without the classifier.

    Raises `BackboneError` if the file holds anything but tensors by name, or if they do not fit the backbone.
    """
    return _fitted(backbone, read_tensors(path))


def state_in_order(path: Path, backbone: str) -> bytes:
    """Converts a state whose tensors have other names than torchvision's but the same order.

    Raises `BackboneError` if the file cannot be read, or the number of tensors or a shape differs from the backbone's.
    """
    network = find_backbone(backbone).construct()
    used = backbone_tensor_names(network, find_backbone(backbone).take_apart(network))
    own = {name: tensor for name, tensor in network.state_dict().items() if name in used}
    tensors = list(read_tensors(path).values())
    if [tensor.shape for tensor in tensors] != [tensor.shape for tensor in own.values()]:
        raise BackboneError(f"{path} does not hold the tensors of {backbone} in their order.")
    return _fitted(backbone, dict(zip(own, tensors, strict=True)))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Reads a state that PyTorch saved: tensors by name, also if they lie below the key `params` or `state_dict`.

    Raises `BackboneError` if the file cannot be read, or holds anything but tensors by name.
    """
    try:
        # Only tensors and plain containers are loaded: any other object in the file is an error and is not run.
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise BackboneError(f"{path} is not a file of weights alone.") from error
    if isinstance(state, dict):
        state = next((state[key] for key in ("params", "state_dict") if isinstance(state.get(key), dict)), state)
    if not isinstance(state, dict) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise BackboneError(f"{path} does not hold a state by names.")
    return state


def _fitted(backbone: str, state: dict[str, Tensor]) -> bytes:
    network = find_backbone(backbone).construct()
    parts = find_backbone(backbone).take_apart(network)
    load_classifier_state(network, parts, state)
    used = backbone_tensor_names(network, parts)
    return save({name: tensor.contiguous() for name, tensor in network.state_dict().items() if name in used})
