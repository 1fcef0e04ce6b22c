"""Saves and loads models: one safetensors file with the whole state, and metadata as JSON in its header.

The bytes depend on the content alone, so that a checkpoint can be named by its hash.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch.overrides import TorchFunctionMode

from nima.model.checkpoint_header import EARLIER_PART, FORMAT, HEADER_KEY, PREPARATION_KEY
from nima.model.checkpoint_header import CheckpointError as CheckpointError
from nima.model.checkpoint_header import read_header as read_header
from nima.model.checkpoint_header import read_metadata as read_metadata
from nima.model.network import Nima
from nima.safe_io import one_line, write_atomically

_DTYPES = {torch.float32: "F32", torch.int64: "I64"}  # those of networks, as safetensors names them


def encode(model: Nima, metadata: dict[str, Any]) -> bytes:
    """Returns the content of the checkpoint file of `model` with `metadata` (JSON values).

    The key `preparation` is added to the metadata if the model sees another part of a photo than "crop", the part of
    files of earlier versions. Raises `ValueError` if the metadata have this key already with another part than the
    model's, or hold values that JSON cannot express.
    """
    part = model.preparation.part
    if metadata.get(PREPARATION_KEY, part) != part:
        raise ValueError(f"the metadata name the preparation {metadata[PREPARATION_KEY]!r}, the model has {part!r}")
    if part != EARLIER_PART:
        metadata = metadata | {PREPARATION_KEY: part}
    header = {
        "format": FORMAT,
        "backbone": model.backbone,
        "multi_level": model.multi_level,
        "metadata": metadata,
    }
    state = {name: tensor.detach().contiguous() for name, tensor in model.state_dict().items()}
    return to_bytes(state, {HEADER_KEY: json.dumps(header, sort_keys=True, allow_nan=False)})


def save(path: Path, model: Nima, metadata: dict[str, Any]) -> None:
    """Writes `model` and `metadata` (JSON values) to `path`, atomically: a reader sees the old file or the new file.

    Raises `CheckpointError` if the file cannot be written, and `ValueError` as `encode` does.
    """
    try:
        write_atomically(path, encode(model, metadata))
    except OSError as error:
        raise CheckpointError(f"The model could not be written to {path}: {error.strerror}.") from error


def load(path: Path) -> tuple[Nima, dict[str, Any]]:
    """Loads the model of `path`, in evaluation mode, and its metadata, whose texts are made printable.

    Raises `CheckpointError` if the file is missing, is not a checkpoint, has a later format, needs a preparation that
    this program does not know, has metadata of another form, or does not fit its backbone: tensors are missing,
    unknown, of another shape or dtype, or not finite.
    """
    header = read_header(path)
    tensors, preparation = header.tensors, header.preparation
    with _Uninitialised():
        model = Nima(header.backbone, multi_level=header.multi_level, preparation=preparation)
    expected = model.state_dict()
    for name in sorted(expected.keys() | tensors.keys()):  # before any tensor is read
        if name not in expected or name not in tensors:
            shown, found = one_line(name, 100), "unknown" if name in tensors else "missing"
            raise CheckpointError(f"{path} is broken: tensor {shown!r} is {found}.")
        if tensors[name] != (_DTYPES[expected[name].dtype], tuple(expected[name].shape)):
            raise CheckpointError(f"{path} is broken: tensor {name!r} has another shape or type than the model's.")
    try:
        with safe_open(path, framework="pt") as file:
            state = {name: file.get_tensor(name) for name in expected}
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} could not be read as a model ({error}).") from error
    for name, tensor in state.items():
        if not torch.isfinite(tensor).all():
            raise CheckpointError(f"{path} is broken: tensor {name!r} has values that are not finite.")
    model.load_state_dict(state, assign=True)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model.eval(), header.metadata


class _Uninitialised(TorchFunctionMode):
    """Leaves new parameters uninitialised, because the file replaces their values anyway.

    The meta device would do the same, but it imports torch's compiler first, which takes as long as torch itself.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name.endswith(("normal_", "uniform_")):
            tensor = args[0] if args else kwargs["tensor"]
            if name.endswith("normal_"):
                # torch draws values of a truncated normal distribution again until all lie within bounds. With values
                # that are never drawn, this might never end; zeros lie within the bounds.
                tensor.detach().zero_()
            return tensor
        return func(*args, **kwargs)
