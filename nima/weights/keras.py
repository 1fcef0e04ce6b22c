"""Reads weights of NIMA on MobileNet v1 from the HDF5 files of Keras."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nima.errors import NimaError
from nima.model import MobileNetV1, find_backbone


class KerasWeightsError(NimaError):
    """An HDF5 file cannot be read, or does not hold NIMA on Keras' MobileNet v1."""


def read_keras_nima(path: Path) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Reads the weights of NIMA on MobileNet v1 from a file of Keras (HDF5).

    Returns:
        The state of `MobileNetV1`, and the state of the dense layer (weight `[10, 1024]`, bias `[10]`), in float32.

    Raises:
        KerasWeightsError: the file cannot be read, or a layer is missing, has another shape, or is not finite.
    """
    import h5py  # imported here, because nothing else needs it

    try:
        with h5py.File(path, "r") as whole:
            # `save_weights` writes the layers at the top, `save` below this group.
            file = whole["model_weights"] if isinstance(whole.get("model_weights"), h5py.Group) else whole
            network = MobileNetV1()
            state = network.state_dict()
            layers = [
                "conv1",
                *(f"conv_{kind}_{i}" for i in range(1, len(network.features)) for kind in ("dw", "pw")),
            ]
            convolutions = [name for name, module in network.named_modules() if isinstance(module, nn.Conv2d)]
            for layer, name in zip(layers, convolutions, strict=True):
                _read_convolution(file, layer, name, state)
            head = _dense_layer(file)
            dense = {
                "weight": _read(
                    file,
                    head,
                    "kernel",
                    torch.empty(10, find_backbone("mobilenet_v1").features),
                    lambda kernel: kernel.T,
                ),
                "bias": _read(file, head, "bias", torch.empty(10)),
            }
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise KerasWeightsError(f"{path} cannot be read as Keras' HDF5 ({error}).") from error
    except KerasWeightsError as error:
        raise KerasWeightsError(f"{path} is not NIMA on Keras' MobileNet v1: {error}") from None
    return state, dense


def _dense_layer(file: Any) -> str:
    """Returns the name of the dense layer: Keras numbers the layers of one program, so it may be any of `dense_7`."""
    names = [name for name in file if re.fullmatch(r"dense(_\d{1,4})?", name)]
    if len(names) != 1:
        raise KerasWeightsError(f"there are {len(names)} layers 'dense' instead of one.")
    return str(names[0])


def _read_convolution(file: Any, layer: str, name: str, state: dict[str, Tensor]) -> None:
    """Reads a convolution and the BatchNorm that follows it into `state`."""
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
    """Reads one array, and checks it before its values: a file can claim any shape, or point into other files."""
    import h5py

    dataset = file.get(f"{layer}/{layer}/{name}:0")
    if not isinstance(dataset, h5py.Dataset):
        raise KerasWeightsError(f"the layer {layer!r} has no {name!r}.")
    outside = dataset.external or dataset.is_virtual or dataset.file.filename != file.file.filename
    if outside or dataset.dtype != np.float32 or dataset.size != like.numel() or dataset.ndim != like.ndim:
        raise KerasWeightsError(f"{name!r} of the layer {layer!r} is {dataset.dtype} {list(dataset.shape)}.")
    array = np.ascontiguousarray(reorder(dataset[()]))
    if array.shape != tuple(like.shape):
        raise KerasWeightsError(f"{name!r} of the layer {layer!r} has the shape {list(dataset.shape)}.")
    if not np.isfinite(array).all():
        raise KerasWeightsError(f"{name!r} of the layer {layer!r} has values that are not finite.")
    return torch.from_numpy(array)
