"""Makes the model's step from a round's combined update Δ, which is used as it is, or as a pseudo-gradient.

An optimiser is a pure function (Δ, state) → (step, next state). Its state is a mapping of names to float64 vectors
`[size]`, which is empty before the first round. The state is kept in a file, so that a resumed run continues as if it
had never been stopped.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from nima.safe_io import write_atomically
from requestor.errors import RunFolderError
from requestor.training.rounds.vectors import Vector

State = Mapping[str, Vector]

OUTER_MOMENTUM = 0.5  # in runs of few rounds, a larger value is worse than no momentum
# The symbols and values of FedAdam and FedYogi are those of Reddi et al. 2021, arXiv 2003.00295.
BETA1, BETA2 = 0.9, 0.99  # as in the paper's experiments
ADAPTIVITY = 1e-3  # τ; smaller values make the step more adaptive
SERVER_RATE = 0.01  # η


def plain(delta: Vector, state: State) -> tuple[Vector, State]:
    """Takes Δ as the step: x ← x + Δ."""
    return delta, state


def momentum(delta: Vector, state: State) -> tuple[Vector, State]:
    """Computes FedAvgM: m ← β·m + Δ, x ← x + m (Hsu et al. 2019, arXiv 1909.06335, section 4.3)."""
    velocity = OUTER_MOMENTUM * state.get("momentum", np.zeros_like(delta)) + delta
    return velocity, {"momentum": velocity}


def adam(delta: Vector, state: State) -> tuple[Vector, State]:
    """Computes FedAdam: x ← x + η·m / (√v + τ), with v ← β₂·v + (1 − β₂)·Δ².

    Reddi et al. 2021, arXiv 2003.00295, algorithm 2.
    """
    variance = _variance(delta, state)
    return _adaptive(delta, state, BETA2 * variance + (1 - BETA2) * delta**2)


def yogi(delta: Vector, state: State) -> tuple[Vector, State]:
    """Computes FedYogi: the same as FedAdam, but with v ← v − (1 − β₂)·Δ²·sign(v − Δ²).

    Reddi et al. 2021, arXiv 2003.00295, algorithm 2.
    """
    variance, square = _variance(delta, state), delta**2
    return _adaptive(delta, state, variance - (1 - BETA2) * square * np.sign(variance - square))


def _variance(delta: Vector, state: State) -> Vector:
    return state.get("variance", np.full_like(delta, ADAPTIVITY**2))


def _adaptive(delta: Vector, state: State, variance: Vector) -> tuple[Vector, State]:
    mean = BETA1 * state.get("momentum", np.zeros_like(delta)) + (1 - BETA1) * delta
    return SERVER_RATE * mean / (np.sqrt(variance) + ADAPTIVITY), {"momentum": mean, "variance": variance}


def save_server_state(path: Path, state: State) -> None:
    """Writes the state to a safetensors file, atomically. Raises OSError if it cannot be written."""
    write_atomically(path, save(dict(state)))


def load_server_state(path: Path) -> State:
    """Reads the state from a file; it is empty if there is no file. Raises RunFolderError if the file is damaged."""
    try:
        state: dict[str, Vector] = load(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise RunFolderError(f"{path} is damaged ({error}): choose another --run-dir.") from error
    return state
