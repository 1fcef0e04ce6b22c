"""Encodes trained parameters: current values are sent to the provider as fp16, and a delta is sent back as int8.

Both are safetensors files with exactly the tensors of a schema (name → shape). Every file is checked when it is read:

- weights: fp16 values. The rounding does no harm to training, because a provider's delta is relative to the values that
  it received.
- update: int8 values of delta / scale, and `scales` float32 `[rows]`, one for each row of each tensor in the order of
  the sorted names, with scale = max |delta| of the row / 127. A row is one output of a layer; a vector is one row.

A value is rounded up or down at random, with the probabilities for which the expected result is the value itself (QSGD,
Alistarh et al. 2017, arXiv 1610.02132). So deltas far below a step are not lost: they add up over the clients and the
rounds. Error feedback (Karimireddy et al. 2019, arXiv 1901.09847) would need a provider's rounding errors in the next
round, which another provider may compute. The seed of the random numbers is the job's, so that the same work gives the
same update wherever it is done.
"""

from __future__ import annotations

import math
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

Expected = dict[str, tuple[torch.dtype, tuple[int, ...]]]

_SCALES = "scales"
_STEPS = 127  # number of steps between zero and the largest value of a row
_HEADER_BYTES = 4096
_HEADER_BYTES_A_TENSOR = 256


class UpdateError(NimaError):
    """A file of weights or an update breaks the format, or cannot be written."""


def schema_of(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Returns the schema of `tensors`: name → shape."""
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def max_weights_bytes(schema: Schema) -> int:
    """Returns the largest size in bytes of a valid file of weights of `schema`."""
    return 2 * _values(schema) + _header_bytes(schema)


def max_update_bytes(schema: Schema) -> int:
    """Returns the largest size in bytes of a valid update of `schema`; a longer transfer may be cut off."""
    return _values(schema) + 4 * sum(_rows_of(shape) for shape in schema.values()) + _header_bytes(schema)


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
    halves = _read(path, _expected(schema, torch.float16), max_weights_bytes(schema), partial)
    return {name: halves[name].float() for name in schema if name in halves}


def encode_update(path: Path, received: Mapping[str, Tensor], trained: Mapping[str, Tensor], seed: int) -> None:
    """Writes the delta `trained − received` to `path`, atomically.

    Each value is decoded with an error of less than a step, max |delta| of its row / 127, and with no error in the mean
    over all seeds, apart from float32's own rounding.

    Args:
        path: path of the new file.
        received, trained: the parameters before and after the training, by name.
        seed: seed of the rounding, 0 or more.

    Raises `UpdateError` if a delta is not finite or the file cannot be written.
    """
    tensors, scales = _rounded(received, trained, seed)
    _write(path, {**tensors, _SCALES: scales})


def round_update(received: Mapping[str, Tensor], trained: Mapping[str, Tensor], seed: int) -> dict[str, Tensor]:
    """Returns the delta `trained − received`, name → float32, with the values that `encode_update` leaves of it.

    Raises `UpdateError` if a delta is not finite.
    """
    tensors, scales = _rounded(received, trained, seed)
    return _scaled(tensors, scales)


def decode_update(path: Path, schema: Schema) -> dict[str, Tensor]:
    """Reads the delta in `path` as float32, with exactly the tensors of `schema`.

    Raises `UpdateError` if the file is larger than `max_update_bytes(schema)` (without reading it), is no safetensors
    file, has tensors that are missing, unknown, of another shape or type, or not finite, or a scale is negative.
    """
    rows = sum(map(_rows_of, schema.values()))
    expected = _expected(schema, torch.int8) | {_SCALES: (torch.float32, (rows,))}
    tensors = _read(path, expected, max_update_bytes(schema))
    scales = tensors.pop(_SCALES)
    if (scales < 0).any():
        raise UpdateError(f"{path} was refused: a scale is negative.")
    deltas = _scaled({name: tensors[name] for name in sorted(schema)}, scales)
    _check_finite(deltas, f"{path} was refused: a delta")
    return {name: deltas[name] for name in schema}


def _rounded(
    received: Mapping[str, Tensor], trained: Mapping[str, Tensor], seed: int
) -> tuple[dict[str, Tensor], Tensor]:
    """Returns the delta as int8 steps, in the order of the sorted names, and the float32 scale of every row."""
    deltas = {name: trained[name].detach().float() - received[name].detach().float() for name in sorted(trained)}
    _check_finite(deltas, "The update")
    random = torch.Generator().manual_seed(seed)
    tensors, scales = {}, []
    for name, delta in deltas.items():
        rows = delta.reshape(_rows_of(delta.shape), -1)
        scale = torch.linalg.vector_norm(rows, torch.inf, dim=1, keepdim=True) / _STEPS
        # If nothing was learnt in a row, its scale is zero, and a division by it would give NaN.
        steps = torch.where(scale > 0, rows / scale, 0).add_(torch.rand(rows.shape, generator=random)).floor_()
        tensors[name] = steps.clamp_(-_STEPS, _STEPS).to(torch.int8).reshape(delta.shape)
        scales.append(scale.flatten())
    return tensors, torch.cat(scales)


def _scaled(tensors: Mapping[str, Tensor], scales: Tensor) -> dict[str, Tensor]:
    """Multiplies int8 steps, in the order of the sorted names, by the scales of their rows; returns float32 values."""
    deltas, first = {}, 0
    for name, steps in tensors.items():
        count = _rows_of(steps.shape)
        scale, first = scales[first : first + count], first + count
        deltas[name] = (steps.float().reshape(count, -1) * scale[:, None]).reshape(steps.shape)
    return deltas


def _write(path: Path, tensors: dict[str, Tensor]) -> None:
    try:
        write_atomically(path, save(tensors))
    except OSError as error:
        raise UpdateError(f"{path} could not be written: {error.strerror}.") from error


def _read(path: Path, expected: Expected, largest: int, partial: bool = False) -> dict[str, Tensor]:
    """Reads a file of at most `largest` bytes: all finite, and no tensor missing unless `partial`."""
    try:
        tensors = load(read_bounded(path, largest))
    except FileError as error:
        raise UpdateError(str(error)) from error
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise UpdateError(f"{path} was refused: it is no safetensors file.") from error
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


def _expected(schema: Schema, dtype: torch.dtype) -> Expected:
    return {name: (dtype, tuple(shape)) for name, shape in schema.items()}


def _values(schema: Schema) -> int:
    return sum(math.prod(shape) for shape in schema.values())


def _rows_of(shape: Sequence[int]) -> int:
    return shape[0] if len(shape) > 1 else 1


def _header_bytes(schema: Schema) -> int:
    names = sum(len(name.encode()) for name in schema)
    return names + _HEADER_BYTES + _HEADER_BYTES_A_TENSOR * len(schema)
