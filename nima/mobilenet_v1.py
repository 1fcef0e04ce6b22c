"""MobileNet v1 as Keras has it, and NIMA weights that were trained on it there.

Source: Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications",
2017. torchvision has no such network. This one computes what Keras computes: TensorFlow's "same" padding, BatchNorm
with an epsilon of 1e-3, ReLU6 after every convolution.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nima.errors import NimaError

FEATURES = 1024

# (output channels, stride) of the depthwise separable blocks that follow the first convolution.
_SEPARABLE = (
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    *[(512, 1)] * 5,
    (1024, 2),
    (1024, 1),
)


class KerasWeightsError(NimaError):
    """An HDF5 file that cannot be read, or is not NIMA on Keras' MobileNet v1."""


class MobileNetV1(nn.Module):
    """The convolutions: pixels `[B, 3, H, W]` in −1..1 → maps `[B, 1024, H/32, W/32]`, for 32 | H and W."""

    def __init__(self) -> None:
        super().__init__()
        blocks = [_convolution(3, 32, kernel=3, stride=2)]
        channels = 32
        for width, stride in _SEPARABLE:
            depthwise = _convolution(channels, channels, kernel=3, stride=stride, groups=channels)
            blocks.append(nn.Sequential(*depthwise, *_convolution(channels, width, kernel=1)))
            channels = width
        self.features = nn.Sequential(*blocks)

    def forward(self, pixels: Tensor) -> Tensor:
        maps: Tensor = self.features(pixels)
        return maps


def _convolution(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    # TensorFlow pads an even side by one pixel, at its end, for a 3×3 kernel of stride 2.
    end = 1 if stride == 2 else 0
    padding = kernel // 2 if stride == 1 else 0
    return nn.Sequential(
        nn.ZeroPad2d((0, end, 0, end)) if end else nn.Identity(),
        nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False),
        nn.BatchNorm2d(outputs, eps=1e-3),
        nn.ReLU6(inplace=True),  # a tenth faster
    )


def read_keras_nima(path: Path) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The weights of NIMA on MobileNet v1 out of a file of Keras' (HDF5).

    Returns:
        the state of `MobileNetV1`, and that of the dense layer (weight `[10, 1024]`, bias `[10]`); float32.

    Raises:
        KerasWeightsError: the file cannot be read; a layer is missing, of another shape or not finite.
    """
    import h5py  # only ever needed for this

    try:
        with h5py.File(path, "r") as file:
            network = MobileNetV1()
            state = network.state_dict()
            layers = [
                "conv1",
                *(f"conv_{kind}_{i}" for i in range(1, len(_SEPARABLE) + 1) for kind in ("dw", "pw")),
            ]
            convolutions = [name for name, module in network.named_modules() if isinstance(module, nn.Conv2d)]
            for layer, name in zip(layers, convolutions, strict=True):
                _read_convolution(file, layer, name, state)
            dense = {
                "weight": _read(file, "dense_1", "kernel", torch.empty(10, FEATURES), lambda kernel: kernel.T),
                "bias": _read(file, "dense_1", "bias", torch.empty(10)),
            }
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise KerasWeightsError(f"{path} cannot be read as Keras' HDF5 ({error}).") from error
    except KerasWeightsError as error:
        raise KerasWeightsError(f"{path} is not NIMA on Keras' MobileNet v1: {error}") from None
    return state, dense


def _read_convolution(file: Any, layer: str, name: str, state: dict[str, Tensor]) -> None:
    """Fills in a convolution and the BatchNorm behind it."""
    depthwise = "_dw_" in layer
    kernel = f"{name}.weight"
    state[kernel] = _read(
        file,
        layer,
        "depthwise_kernel" if depthwise else "kernel",
        state[kernel],
        # Keras: height, width, inputs, outputs; of a depthwise kernel: height, width, channels, 1.
        lambda array: array.transpose(2, 3, 0, 1) if depthwise else array.transpose(3, 2, 0, 1),
    )
    prefix, index = name.rsplit(".", 1)
    norm = f"{prefix}.{int(index) + 1}"
    for ours, theirs in (
        ("weight", "gamma"),
        ("bias", "beta"),
        ("running_mean", "moving_mean"),
        ("running_var", "moving_variance"),
    ):
        state[f"{norm}.{ours}"] = _read(file, f"{layer}_bn", theirs, state[f"{norm}.{ours}"])


def _read(
    file: Any,
    layer: str,
    name: str,
    like: Tensor,
    reorder: Callable[[Any], Any] = lambda array: array,
) -> Tensor:
    """One array, checked before its values are read: a file can claim any shape, or point into others."""
    import h5py

    dataset = file.get(f"{layer}/{layer}/{name}:0")
    if not isinstance(dataset, h5py.Dataset):
        raise KerasWeightsError(f"the layer {layer!r} has no {name!r}.")
    outside = dataset.external or dataset.is_virtual or dataset.file.filename != file.filename
    if outside or dataset.dtype != np.float32 or dataset.size != like.numel() or dataset.ndim != like.ndim:
        raise KerasWeightsError(f"{name!r} of the layer {layer!r} is {dataset.dtype} {list(dataset.shape)}.")
    array = np.ascontiguousarray(reorder(dataset[()]))
    if array.shape != tuple(like.shape):
        raise KerasWeightsError(f"{name!r} of the layer {layer!r} has the shape {list(dataset.shape)}.")
    if not np.isfinite(array).all():
        raise KerasWeightsError(f"{name!r} of the layer {layer!r} has values that are not finite.")
    return torch.from_numpy(array)
