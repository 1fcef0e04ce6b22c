"""Lists the backbones by name: torchvision's networks without their classifiers, each as a sequence of blocks.

Every entry of `BACKBONES` takes a network apart into blocks that run one after another. So training the last few
blocks, or pooling the output of each, needs the same few lines for every network.
"""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from nima.errors import NimaError
from nima.model.mobilenet_v1 import MobileNetV1
from nima.model.preparation import PREPARATIONS, Preparation


@functools.cache
def _torchvision() -> Any:
    """Imports `torchvision.models`.

    It is imported only when one of its networks is made, because not every network comes from it. It is imported
    without torch's compiler, which takes as long to import as torch itself: a detection operator asks the compiler a
    question on import, and no classifier needs that operator.
    """
    compiler = types.ModuleType(_COMPILER)
    compiler.is_compile_supported = lambda device: False  # type: ignore[attr-defined]
    if sys.modules.setdefault(_COMPILER, compiler) is not compiler:
        return _torchvision_models()
    try:
        return _torchvision_models()
    finally:
        del sys.modules[_COMPILER]


def _torchvision_models() -> Any:
    """Imports `torchvision.models`, even if torchvision's compiled operators do not load.

    Some indexes pair a CPU-only torch with a torchvision whose C++ library was built for another torch. The import then
    fails at the Python side of the two detection operators below, which no classifier uses; it is enough to declare
    their schemas. If the real operators load, the first import succeeds and nothing is declared.
    """
    try:
        from torchvision import models
    except RuntimeError as error:
        if "operator torchvision::" not in str(error):
            raise
        # Kept alive in the module, because a Library takes its definitions with it when it is collected.
        global _declared
        _declared = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
        for operator in ("nms", "qnms"):
            schema = f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            _declared.define(schema)  # type: ignore[no-untyped-call]
        from torchvision import models
    return models


_COMPILER = "torch._dynamo.utils"
_declared: torch.library.Library | None = None


class BackboneError(NimaError):
    """A backbone does not exist, or weights do not fit it."""


@dataclass(frozen=True)
class Parts:
    """The parts of a network: `pool(blocks[-1](… blocks[0](x)))` gives the features `[B, features]`."""

    blocks: list[nn.Module]
    pool: nn.Module


_TORCHVISIONS = Preparation()


@dataclass(frozen=True)
class Backbone:
    """One network that can be a backbone.

    construct: makes the randomly initialised network, whose state has torchvision's own names.
    take_apart: takes that network and returns its blocks and its pooling.
    features: size of the pooled vector.
    weights: name of the network's pretrained weights in `nima.weights.table`.
    preparation: turns a photo into the network's input; a checkpoint can name another part of the photo.
    pool_level: pools the output of a block to `[B, channels]`, for multi-level features.
    """

    construct: Callable[[], nn.Module]
    take_apart: Callable[[Any], Parts]
    features: int
    weights: str
    preparation: Preparation = _TORCHVISIONS
    pool_level: Callable[[Tensor], Tensor] = lambda maps: maps.mean(dim=(2, 3))


def find_backbone(name: str) -> Backbone:
    """Returns the backbone called `name`; raises `BackboneError`, with the names that exist, if there is none.

    Example:
        >>> find_backbone("mobilenet_v2").features
        1280
    """
    try:
        return BACKBONES[name]
    except KeyError:
        raise BackboneError(f"There is no backbone {name!r}; choose one of {', '.join(BACKBONES)}.") from None


def load_classifier_state(network: nn.Module, parts: Parts, state: dict[str, Tensor]) -> None:
    """Loads torchvision's `state` into those tensors of `network` that its `parts` use.

    Tensors that only the classifier has are left out. Raises `BackboneError` if a tensor that the parts need is missing
    from the state or has another shape there.
    """
    own = network.state_dict()
    needed = backbone_tensor_names(network, parts)
    fitting = {name for name in needed & state.keys() if state[name].shape == own[name].shape}
    # BatchNorm's counters, which older files lack, are never read while its statistics are frozen.
    missing = sorted(name for name in needed - fitting if not name.endswith("num_batches_tracked"))
    if missing:
        raise BackboneError(
            f"The weights do not fit the backbone: {len(missing)} tensors are missing or have another shape; "
            f"the first of them is {missing[0]!r}."
        )
    network.load_state_dict({name: state[name] for name in fitting}, strict=False)


def backbone_tensor_names(network: nn.Module, parts: Parts) -> set[str]:
    """Returns the names of those tensors of the network's state that its `parts` use: all but the classifier's."""
    modules = (*parts.blocks, parts.pool)
    used = {tensor.data_ptr() for module in modules for tensor in module.state_dict().values()}
    return {name for name, tensor in network.state_dict().items() if tensor.data_ptr() in used}


def _global_average() -> nn.Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())


def _features(network: Any) -> Parts:
    return Parts(list(network.features), _global_average())


def _vgg(network: Any) -> Parts:
    blocks: list[list[nn.Module]] = [[]]
    for layer in network.features:
        blocks[-1].append(layer)
        if isinstance(layer, nn.MaxPool2d):
            blocks.append([])
    # Pooled features replace VGG's three dense layers: 15 million parameters instead of 138 million.
    return Parts([nn.Sequential(*layers) for layers in blocks if layers], _global_average())


def _vgg_maps(network: Any) -> Parts:
    return Parts(_vgg(network).blocks, nn.Flatten())


def _inception(network: Any) -> Parts:
    stem = [
        nn.Sequential(network.Conv2d_1a_3x3, network.Conv2d_2a_3x3, network.Conv2d_2b_3x3, network.maxpool1),
        nn.Sequential(network.Conv2d_3b_1x1, network.Conv2d_4a_3x3, network.maxpool2),
    ]
    mixed = [getattr(network, f"Mixed_{level}") for level in ("5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e")]
    return Parts([*stem, *mixed, network.Mixed_7a, network.Mixed_7b, network.Mixed_7c], _global_average())


def _resnet(network: Any) -> Parts:
    stem = nn.Sequential(network.conv1, network.bn1, network.relu, network.maxpool)
    layers: Iterable[nn.Module] = (*network.layer1, *network.layer2, *network.layer3, *network.layer4)
    return Parts([stem, *layers], _global_average())


def _shufflenet(network: Any) -> Parts:
    stem = nn.Sequential(network.conv1, network.maxpool)
    return Parts([stem, *network.stage2, *network.stage3, *network.stage4, network.conv5], _global_average())


def _convnext(network: Any) -> Parts:
    norm = network.classifier[0]
    return Parts(list(network.features), nn.Sequential(nn.AdaptiveAvgPool2d(1), norm, nn.Flatten()))


class _PatchTokens(nn.Module):
    """Turns images `[B, 3, 224, 224]` into tokens `[B, 1 + 196, 768]`: class token and patches, with positions."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.projection = network.conv_proj
        self.class_token = network.class_token
        self.positions = network.encoder.pos_embedding
        self.dropout = network.encoder.dropout

    def forward(self, images: Tensor) -> Tensor:
        patches = self.projection(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_token.expand(images.shape[0], -1, -1), patches], dim=1)
        dropped: Tensor = self.dropout(tokens + self.positions)
        return dropped


class _ClassToken(nn.Module):
    """Takes the class token `[B, 768]` out of tokens `[B, T, 768]`, and normalises it."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, tokens: Tensor) -> Tensor:
        normalised: Tensor = self.norm(tokens[:, 0])
        return normalised


def _vit(network: Any) -> Parts:
    return Parts([_PatchTokens(network), *network.encoder.layers], _ClassToken(network.encoder.ln))


def _swin(network: Any) -> Parts:
    pool = nn.Sequential(network.norm, network.permute, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return Parts(list(network.features), pool)


BACKBONES: dict[str, Backbone] = {
    "mobilenet_v1": Backbone(
        construct=MobileNetV1,
        take_apart=_features,
        features=1024,
        weights="mobilenet_v1-ava-backbone",
        preparation=PREPARATIONS["mobilenet_v1"],
    ),
    "mobilenet_v2": Backbone(
        construct=lambda: _torchvision().mobilenet_v2(),
        take_apart=_features,
        features=1280,
        weights="mobilenet_v2-imagenet",
    ),
    "mobilenet_v3_small": Backbone(
        construct=lambda: _torchvision().mobilenet_v3_small(),
        take_apart=_features,
        features=576,
        weights="mobilenet_v3_small-imagenet",
    ),
    "mobilenet_v3_large": Backbone(
        construct=lambda: _torchvision().mobilenet_v3_large(),
        take_apart=_features,
        features=960,
        weights="mobilenet_v3_large-imagenet",
    ),
    "vgg16": Backbone(
        # It is not initialised, because that takes seconds for the dense layers, which are left out.
        construct=lambda: _torchvision().vgg16(init_weights=False),
        take_apart=_vgg,
        features=512,
        weights="vgg16-imagenet",
    ),
    "vgg16_maps": Backbone(
        # The head sees each of the last 7 × 7 maps, as in NIMA's paper and in models of other programs.
        construct=lambda: _torchvision().vgg16(init_weights=False),
        take_apart=_vgg_maps,
        features=25_088,
        weights="vgg16-imagenet",
    ),
    "inception_v3": Backbone(
        # It has no auxiliary classifier, and is not initialised by SciPy's slow truncated normal distribution.
        construct=lambda: _torchvision().inception_v3(aux_logits=False, init_weights=False),
        take_apart=_inception,
        features=2048,
        weights="inception_v3-imagenet",
        preparation=PREPARATIONS["inception_v3"],
    ),
    "resnet18": Backbone(
        construct=lambda: _torchvision().resnet18(),
        take_apart=_resnet,
        features=512,
        weights="resnet18-imagenet",
    ),
    "resnet50": Backbone(
        construct=lambda: _torchvision().resnet50(),
        take_apart=_resnet,
        features=2048,
        weights="resnet50-imagenet",
    ),
    "efficientnet_b0": Backbone(
        construct=lambda: _torchvision().efficientnet_b0(),
        take_apart=_features,
        features=1280,
        weights="efficientnet_b0-imagenet",
        preparation=PREPARATIONS["efficientnet_b0"],
    ),
    "efficientnet_v2_s": Backbone(
        construct=lambda: _torchvision().efficientnet_v2_s(),
        take_apart=_features,
        features=1280,
        weights="efficientnet_v2_s-imagenet",
        preparation=PREPARATIONS["efficientnet_v2_s"],
    ),
    "convnext_tiny": Backbone(
        construct=lambda: _torchvision().convnext_tiny(),
        take_apart=_convnext,
        features=768,
        weights="convnext_tiny-imagenet",
    ),
    "vit_b_16": Backbone(
        construct=lambda: _torchvision().vit_b_16(),
        take_apart=_vit,
        features=768,
        weights="vit_b_16-imagenet",
        pool_level=lambda tokens: tokens.mean(dim=1),
    ),
    "swin_t": Backbone(
        construct=lambda: _torchvision().swin_t(),
        take_apart=_swin,
        features=768,
        weights="swin_t-imagenet",
        preparation=PREPARATIONS["swin_t"],
        pool_level=lambda maps: maps.mean(dim=(1, 2)),  # Swin's maps are [B, H, W, C]
    ),
    "squeezenet1_1": Backbone(
        construct=lambda: _torchvision().squeezenet1_1(),
        take_apart=_features,
        features=512,
        weights="squeezenet1_1-imagenet",
    ),
    "shufflenet_v2": Backbone(
        construct=lambda: _torchvision().shufflenet_v2_x1_0(),
        take_apart=_shufflenet,
        features=1024,
        weights="shufflenet_v2-imagenet",
    ),
}
