"""Keeps the states of a training at ten points, so that any tenth of it can be computed again.

A provider commits to its states by their hashes before it knows which tenth is asked for (Proof-of-Learning, Jia et al.
2021, arXiv 2103.05633, section V). A state is what a training needs to go on from there: the trained parameters, and
the optimiser's velocities. Its file is a safetensors file with, for each trained parameter,

    parameter.<name>    float32
    velocity.<name>     float32    the same shape

Random numbers begin anew at every point, so that no state of a generator needs to be kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from nima.errors import NimaError
from nima.safe_io import FileError, read_bounded, write_atomically

POINTS = 10
_HEADER_BYTES = 4096
_HEADER_BYTES_A_TENSOR = 256


class StateError(NimaError):
    """A file is not the state of a training, or a state cannot be written."""


@dataclass(frozen=True)
class TrainingState:
    """The state of a training after some of its steps.

    parameters: the trained parameters, name → float32 tensor.
    velocities: the optimiser's velocity of each parameter, name → float32 tensor of the same shape.
    """

    parameters: Mapping[str, Tensor]
    velocities: Mapping[str, Tensor]

    @classmethod
    def beginning(cls, parameters: Mapping[str, Tensor]) -> TrainingState:
        """Returns the state before the first step: the received parameters, and no velocity."""
        return cls(
            {name: values.detach().clone() for name, values in parameters.items()},
            {name: torch.zeros_like(values) for name, values in parameters.items()},
        )


def points(steps: int) -> tuple[int, ...]:
    """Returns the steps at which the segments of a training begin and end: 0 first, and `steps` last.

    There are `POINTS` segments of about equal length, or one of each step if there are fewer steps.

    Args:
        steps: number of steps of the training, at least 1.
    """
    segments = min(POINTS, steps)
    return tuple(round(index * steps / segments) for index in range(segments + 1))


def max_state_bytes(parameters: Mapping[str, Tensor]) -> int:
    """Returns the largest size in bytes of a valid file with the state of these parameters."""
    values = sum(tensor.numel() for tensor in parameters.values())
    names = sum(len(name.encode()) for name in parameters)
    return 8 * values + 2 * names + _HEADER_BYTES + 2 * _HEADER_BYTES_A_TENSOR * len(parameters)


def write_state(path: Path, state: TrainingState) -> None:
    """Writes a state to a file, atomically. Raises `StateError` if it cannot be written."""
    tensors = {f"parameter.{name}": values.detach().contiguous() for name, values in state.parameters.items()}
    tensors |= {f"velocity.{name}": values.detach().contiguous() for name, values in state.velocities.items()}
    try:
        write_atomically(path, save(tensors))
    except OSError as error:
        raise StateError(f"{path} could not be written: {error.strerror}.") from error


def read_state(path: Path, parameters: Mapping[str, Tensor]) -> TrainingState:
    """Reads a state, with exactly the tensors of these parameters, float32, of their shapes, and finite.

    Raises `StateError` if the file is too large (without reading it), or is no such state.
    """
    try:
        tensors = load(read_bounded(path, max_state_bytes(parameters)))
    except FileError as error:
        raise StateError(str(error)) from error
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise StateError(f"{path} was refused: it is no safetensors file.") from error
    if tensors.keys() != {f"{kind}.{name}" for kind in ("parameter", "velocity") for name in parameters}:
        raise StateError(f"{path} was refused: it does not hold the state of the trained parameters.")
    state = TrainingState(
        {name: tensors[f"parameter.{name}"] for name in parameters},
        {name: tensors[f"velocity.{name}"] for name in parameters},
    )
    for name, expected in parameters.items():
        for values in (state.parameters[name], state.velocities[name]):
            if values.dtype != torch.float32 or values.shape != expected.shape or not torch.isfinite(values).all():
                raise StateError(f"{path} was refused: {name} has a wrong type, shape or value.")
    return state
