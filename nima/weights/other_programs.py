"""Makes checkpoints of NIMA models that other programs have trained and saved.

Each program names its tensors in its own way, and the names alone tell which one it was:

- pyiqa (https://github.com/chaofengc/IQA-PyTorch): VGG16 of timm, whose pooled output the head sees, below `params`.
- Neural-IMage-Assessment (https://github.com/yunxiaoshi/Neural-IMage-Assessment): VGG16 of torchvision, whose last
  7 × 7 maps the head sees, as in NIMA's paper; its pixels are not normalised.
- nima.pytorch (https://github.com/truskovskiyk/nima.pytorch): ResNet of torchvision as a plain sequence of its parts.
- Keras (HDF5): NIMA on MobileNet v1, as idealo's image-quality-assessment and titu1994's neural-image-assessment have
  it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from nima.errors import NimaError
from nima.model import Nima, backbone_tensor_names, checkpoint, find_backbone, load_classifier_state
from nima.ratings import BUCKETS
from nima.safe_io import one_line
from nima.weights.conversion import read_tensors
from nima.weights.keras import read_keras_nima

KNOWN = "pyiqa (VGG16), Neural-IMage-Assessment (VGG16), nima.pytorch (ResNet), Keras' MobileNet v1 (HDF5)"
"""The models that can be imported, for people."""

_HDF5 = b"\x89HDF\r\n\x1a\n"


class OtherProgramError(NimaError):
    """A file holds no NIMA model of a program that this one knows."""


@dataclass(frozen=True)
class _Found:
    """A network of another program: its name for people, and its state with the names of torchvision."""

    program: str
    backbone: str
    network: dict[str, Tensor]
    head: dict[str, Tensor]
    normalised: bool = True
    whole: bool = False


def checkpoint_of_other_program(path: Path, name: str) -> bytes:
    """Converts a model of another program to the content of a checkpoint, and calls it `name`.

    Raises:
        OtherProgramError: the file is no model of a known program, or a tensor is missing, has another shape, or is not
            finite.
        BackboneError: the file holds anything but tensors by name, or tensors that do not fit the backbone.
        KerasWeightsError: a file of Keras holds another network.
    """
    found = _recognised(path)
    entry = find_backbone(found.backbone)
    preparation = entry.preparation
    if found.whole:
        preparation = preparation.with_part("whole")
    if not found.normalised:
        preparation = replace(preparation, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    model = Nima(found.backbone, preparation=preparation)
    network = entry.construct()
    parts = entry.take_apart(network)
    load_classifier_state(network, parts, found.network)
    more = sorted(found.network.keys() - backbone_tensor_names(network, parts))
    if more:  # of a deeper network, of which this one is a part
        raise OtherProgramError(f"{path} is no {found.backbone}: it has a tensor {one_line(more[0], 100)!r}, too.")
    for block, loaded in zip(model.blocks, parts.blocks, strict=True):
        block.load_state_dict(loaded.state_dict())
    weight, bias = found.head["weight"].float(), found.head["bias"].float()
    if weight.shape != model.head.weight.shape or bias.shape != model.head.bias.shape:
        raise OtherProgramError(f"{path}: the head has the shape {list(weight.shape)}; NIMA's has {BUCKETS} ratings.")
    model.head.load_state_dict({"weight": weight, "bias": bias})
    if not all(torch.isfinite(tensor).all() for tensor in model.state_dict().values()):
        raise OtherProgramError(f"{path} has values that are not finite.")
    metadata = {"name": name, "source": f"imported; trained by {found.program}", "licence": "not recorded"}
    return checkpoint.encode(model, metadata)


def _recognised(path: Path) -> _Found:
    try:
        with path.open("rb") as file:
            start = file.read(len(_HDF5))
    except OSError as error:
        raise OtherProgramError(f"{path} cannot be read ({error.strerror}).") from error
    if start == _HDF5:
        network, dense = read_keras_nima(path)
        return _Found("Keras", "mobilenet_v1", network, dense, whole=True)
    state = {name.removeprefix("module."): tensor for name, tensor in read_tensors(path).items()}
    for recognise in (_pyiqa, _maps_of_vgg16, _sequence_of_resnet):
        found = recognise(state)
        if found is not None:
            return found
    if any(name.startswith("base_model.conv2d_1a.") for name in state):
        raise OtherProgramError(
            f"{path} is NIMA on Inception-ResNet v2, which torchvision does not have. Of pyiqa's models, "
            "nima-vgg16-ava can be imported."
        )
    raise OtherProgramError(f"{path} is no NIMA model of a program that this one knows: {KNOWN}.")


def _pyiqa(state: dict[str, Tensor]) -> _Found | None:
    """Recognises pyiqa's NIMA on VGG16: timm joins the parts of a name by an underscore."""
    network = _renamed(state, r"base_model\.features_(\d+)\.", r"features.\1.")
    head = _dense(state, "classifier.2.")
    return _Found("pyiqa", "vgg16", network, head) if network and head else None


def _maps_of_vgg16(state: dict[str, Tensor]) -> _Found | None:
    """Recognises the VGG16 of NIMA's paper: torchvision's names, and one dense layer on flattened maps."""
    network = _renamed(state, r"features\.", "features.")
    head = _dense(state, "classifier.1.")
    if not network or not head or head["weight"].shape != (BUCKETS, find_backbone("vgg16_maps").features):
        return None
    return _Found("Neural-IMage-Assessment", "vgg16_maps", network, head, normalised=False)


def _sequence_of_resnet(state: dict[str, Tensor]) -> _Found | None:
    """Recognises nima.pytorch's ResNets, whose parts are numbered: 0 and 1 are the stem, 4 to 7 the four layers."""
    parts = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}
    network = {}
    for name, tensor in _renamed(state, r"base_model\.", "").items():
        number, _, rest = name.partition(".")
        if number in parts:
            network[f"{parts[number]}.{rest}"] = tensor
    # The features are not negative, so the ReLU before the dense layer changes nothing.
    head = _dense(state, "head.2.")
    if not network or not head:
        return None
    return _Found("nima.pytorch", "resnet50" if "layer1.0.conv3.weight" in network else "resnet18", network, head)


def _renamed(state: dict[str, Tensor], pattern: str, replacement: str) -> dict[str, Tensor]:
    """Returns the tensors whose names begin with `pattern`, with that part replaced."""
    return {re.sub(pattern, replacement, name, count=1): state[name] for name in state if re.match(pattern, name)}


def _dense(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Returns weight and bias of a dense layer; nothing if one of them is missing."""
    found = {name: state[prefix + name] for name in ("weight", "bias") if prefix + name in state}
    return found if len(found) == 2 else {}
