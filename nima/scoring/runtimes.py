"""What computes the network while photos are scored: PyTorch, or ONNX Runtime, which on CPUs needs half the time for
the same scores (to 1e-6; a conversion that is off by more than 1e-4 is not kept)."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from nima.errors import NimaError
from nima.model import GRAPH_INPUT, GRAPH_OUTPUTS, Nima, export_model, fold_batch_norms, rgb_bytes_of
from nima.safe_io import cache_folder, sha256_of
from nima.version import VERSION

Runtime = Literal["torch", "onnx"]

Network: TypeAlias = Callable[[Tensor], Tensor]
"""Pixels, float32 `[B, 3, H, W]` in 0..1, → probabilities of the ratings 1..10, float64 `[B, 10]`."""


class RuntimeMissing(NimaError):
    """ONNX Runtime is not installed, or a converted model cannot be kept or used."""


def with_torch(network: Nima, device: torch.device) -> Network:
    """`network` (in evaluation mode; it is changed) on a device."""
    fold_batch_norms(network)  # a quarter of the time on CPUs
    network.to(device)

    def probabilities(pixels: Tensor) -> Tensor:
        with torch.inference_mode():
            logits: Tensor = network(pixels.to(device))
        # In float64 the ten add up to 1 as closely as anyone will check.
        return logits.cpu().double().softmax(dim=1)

    return probabilities


def with_onnx_runtime(model: Path) -> Network:
    """The checkpoint `model` on all cores of this machine; converted on first use.

    Raises:
        RuntimeMissing, ExportError: it cannot be converted or run here.
    """
    try:
        import onnxruntime
    except ImportError:
        raise RuntimeMissing("ONNX Runtime is not installed: pip install 'nima-golem[export]'.") from None
    file = converted_model_path(model)
    if not file.exists():
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RuntimeMissing(f"{file.parent} cannot be made ({error.strerror}); set NIMA_GOLEM_CACHE.") from error
        export_model(model, file, "onnx")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    # A thread that waits must not keep a core from those that decode.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(os.fspath(file), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # it has many, without a common base
        raise RuntimeMissing(f"{file} cannot be used ({error}): delete it, and it will be made anew.") from error

    def probabilities(pixels: Tensor) -> Tensor:
        photos = {GRAPH_INPUT: rgb_bytes_of(pixels).numpy()}
        found = torch.from_numpy(session.run([GRAPH_OUTPUTS[0]], photos)[0]).double()
        return found / found.sum(dim=1, keepdim=True)

    return probabilities


def converted_model_path(model: Path) -> Path:
    """Where the ONNX file of a checkpoint is kept once it is made: by content, and by the program that made it."""
    return cache_folder() / "onnx" / f"{sha256_of(model)[:16]}-{VERSION}.onnx"
