"""Encodes trained parameters in fp16: current values are sent to the provider, and a delta is sent back.

Both are safetensors files with exactly the tensors of a schema (name → shape). Every file is checked when it is read:

- weights: fp16 values. The rounding does no harm to training, because a provider's delta is relative to the values that
  it received.
- update: fp16 values of delta / scale, and `scales` float32 `[tensors]` in the order of the sorted names, with scale =
  max |delta| of the tensor. Plain fp16 would round a delta under 6e-8 to zero, and keep few bits of a small one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from nima.errors import NimaError
from nima.safe_io import FileError, read_bounded, write_atomically

Schema = Mapping[str, Sequence[int]]
"""Name → shape of every tensor that a file must have."""

_SCALES = "scales"
_HEADER_BYTES = 4096
_HEADER_BYTES_A_TENSOR = 256


class UpdateError(NimaError):
    """A file of weights or an update breaks the format, or cannot be written."""


def schema_of(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Returns the schema of `tensors`: name → shape."""
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def max_update_bytes(schema: Schema) -> int:
    """Returns the largest size in bytes of a valid file of `schema`; a longer transfer may be cut off."""
    values = sum(_numel(shape) for shape in schema.values())
    names = sum(len(name.encode()) for name in schema)
    return 2 * values + 4 * len(schema) + names + _HEADER_BYTES + _HEADER_BYTES_A_TENSOR * len(schema)


def encode_weights(path: Path, weights: Mapping[str, Tensor]) -> None:
    """Writes `weights` (finite, |value| ≤ 65504) to `path` as fp16, atomically.

    Raises `UpdateError` if a value is not finite in fp16 or the file cannot be written.
    """
    halves = {name: tensor.detach().half().contiguous() for name, tensor in weights.items()}
    _check_finite(halves, "The weights")
    _write(path, halves)


def decode_weights(path: Path, schema: Schema, partial: bool = False) -> dict[str, Tensor]:
    """Reads the weights in `path` as float32: exactly the tensors of `schema`, or some of them if `partial`.

    Raises `UpdateError` as `decode_update` does.
    """
    halves = _read(path, schema, {}, partial)
    return {name: halves[name].float() for name in schema if name in halves}


def encode_update(path: Path, received: Mapping[str, Tensor], trained: Mapping[str, Tensor]) -> None:
    """Writes the delta `trained − received` to `path`, atomically.

    Each value is decoded with an error of at most max(2⁻¹¹ |value|, 2⁻²⁵ scale), apart from float32's own rounding.
    Raises `UpdateError` if a delta is not finite or the file cannot be written.
    """
    deltas = {name: trained[name].detach().float() - received[name].detach().float() for name in sorted(trained)}
    _check_finite(deltas, "The update")
    scales = torch.tensor([delta.abs().max() if delta.numel() else 0.0 for delta in deltas.values()])
    tensors = {
        # If nothing was learnt, the scale is zero, and a division by it would give NaN.
        name: (delta / scale if scale > 0 else delta).half().contiguous()
        for (name, delta), scale in zip(deltas.items(), scales, strict=True)
    }
    _write(path, {**tensors, _SCALES: scales})


def decode_update(path: Path, schema: Schema) -> dict[str, Tensor]:
    """Reads the delta in `path` as float32, with exactly the tensors of `schema`.

    Raises `UpdateError` if the file is larger than `max_update_bytes(schema)` (without reading it), is no safetensors
    file, has tensors that are missing, unknown, of another shape or type, or not finite, or a scale is negative.
    """
    tensors = _read(path, schema, {_SCALES: (len(schema),)})
    scales = tensors.pop(_SCALES)
    if (scales < 0).any():
        raise UpdateError(f"{path} was refused: a scale is negative.")
    deltas = {name: tensors[name].float() * scale for name, scale in zip(sorted(schema), scales, strict=True)}
    _check_finite(deltas, f"{path} was refused: a delta")
    return {name: deltas[name] for name in schema}


def _write(path: Path, tensors: dict[str, Tensor]) -> None:
    try:
        write_atomically(path, save(tensors))
    except OSError as error:
        raise UpdateError(f"{path} could not be written: {error.strerror}.") from error


def _read(path: Path, schema: Schema, floats: Schema, partial: bool = False) -> dict[str, Tensor]:
    """Reads tensors of `schema` in float16 and of `floats` in float32, all finite; some may be missing if `partial`."""
    try:
        tensors = load(read_bounded(path, max_update_bytes(schema)))
    except FileError as error:
        raise UpdateError(str(error)) from error
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise UpdateError(f"{path} was refused: it is no safetensors file.") from error
    expected = {name: (torch.float16, tuple(shape)) for name, shape in schema.items()}
    expected |= {name: (torch.float32, tuple(shape)) for name, shape in floats.items()}
    missing, unknown = len(expected.keys() - tensors.keys()), len(tensors.keys() - expected.keys())
    if unknown or (missing and not partial):
        raise UpdateError(f"{path} was refused: {missing} tensors are missing and {unknown} are unknown.")
    for name in tensors:
        dtype, shape = expected[name]
        if tensors[name].dtype != dtype or tuple(tensors[name].shape) != shape:
            raise UpdateError(
                f"{path} was refused: {name} is {tensors[name].dtype} {tuple(tensors[name].shape)} instead "
                f"of {dtype} {shape}."
            )
    _check_finite(tensors, f"{path} was refused: a value")
    return tensors


def _check_finite(tensors: Mapping[str, Tensor], what: str) -> None:
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise UpdateError(f"{what} is not finite in {name}.")


def _numel(shape: Sequence[int]) -> int:
    return int(torch.Size(shape).numel())
