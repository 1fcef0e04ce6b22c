"""Runs the network on photos by PyTorch or by ONNX Runtime, which needs half the time on CPUs.

The scores are the same to 1e-6; a converted model whose probabilities differ by more than 1e-4 is not kept.
"""

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
"""Computes probabilities of the ratings 1 to 10, float64 `[B, 10]`, from pixels, float32 `[B, 3, H, W]` in 0..1."""


class RuntimeMissing(NimaError):
    """ONNX Runtime is not installed, or a converted model cannot be kept or used."""


def with_torch(network: Nima, device: torch.device) -> Network:
    """Makes a function that runs `network` on a device.

    The network must be in evaluation mode. It is changed: its BatchNorms are folded, and it is moved to the device.
    """
    fold_batch_norms(network)  # saves a quarter of the time on CPUs
    network.to(device)

    def probabilities(pixels: Tensor) -> Tensor:
        with torch.inference_mode():
            logits: Tensor = network(pixels.to(device))
        # In float64, the sum of the ten differs from 1 by rounding only.
        return logits.cpu().double().softmax(dim=1)

    return probabilities


def with_onnx_runtime(model: Path) -> Network:
    """Makes a function that runs the checkpoint `model` on as many cores as torch uses; converts it on first use.

    Raises:
        RuntimeMissing: ONNX Runtime is not installed, or the converted model cannot be kept or used.
        ExportError: the model cannot be converted.
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
    # A waiting thread must not occupy a core that could decode photos.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(os.fspath(file), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions have no common base
        raise RuntimeMissing(f"{file} cannot be used ({error}): delete it, and it will be made anew.") from error

    def probabilities(pixels: Tensor) -> Tensor:
        photos = {GRAPH_INPUT: rgb_bytes_of(pixels).numpy()}
        found = torch.from_numpy(session.run([GRAPH_OUTPUTS[0]], photos)[0]).double()
        return found / found.sum(dim=1, keepdim=True)

    return probabilities


def converted_model_path(model: Path) -> Path:
    """Returns the path in the cache for the ONNX file of a checkpoint, by its hash and by this program's version.

    The file need not exist. Raises `FileError` if the checkpoint cannot be read.
    """
    return cache_folder() / "onnx" / f"{sha256_of(model)[:16]}-{VERSION}.onnx"
