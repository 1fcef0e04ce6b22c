"""Runs a model on photos by PyTorch, on any device."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from nima.model import checkpoint, fold_batch_norms, pixels_of
from nima.scoring.runtimes import Network, Outputs, ScoringError


def with_torch(model: Path, device: str, features: bool = False) -> tuple[Network, str]:
    """Makes a function that runs a checkpoint on a device; returns it and the name of the device.

    Args:
        model: file of the checkpoint.
        device: "cpu", "cuda", "mps", or "auto" for the fastest that is present.
        features: True makes the function return the features, too.

    Raises:
        CheckpointError: the file is no model.
        ScoringError: the device is not present.
    """
    chosen = _device(device)
    network, _ = checkpoint.load(model)
    fold_batch_norms(network)  # saves a quarter of the time on CPUs
    network.to(chosen)

    def outputs(photos: NDArray[np.uint8]) -> Outputs:
        with torch.inference_mode():
            found = network.features(pixels_of(torch.from_numpy(photos)).to(chosen))
            logits = network.rate(found)
        # In float64, the sum of the ten differs from 1 by rounding only.
        probabilities = np.asarray(logits.cpu().double().softmax(dim=1).numpy())
        return Outputs(probabilities, found.cpu().numpy() if features else None)

    return outputs, str(chosen)


def _device(name: str) -> torch.device:
    present: dict[str, Callable[[], bool]] = {
        "cuda": torch.cuda.is_available,
        "mps": torch.backends.mps.is_available,
        "cpu": lambda: True,
    }
    if name == "auto":
        name = next(device for device, is_present in present.items() if is_present())
    if name not in present or not present[name]():
        raise ScoringError(f"There is no device {name!r} here; choose cpu, or auto for the fastest that there is.")
    return torch.device(name)
