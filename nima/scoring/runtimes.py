"""Runs a model on photos by ONNX Runtime, without torch, or by PyTorch.

ONNX Runtime needs a tenth of torch's time to be imported and half of its time for a photo on CPUs. The scores are the
same to 1e-6; a converted model whose probabilities differ by more than 1e-4 is not kept. Models are converted once, and
kept in the cache by the hash of their file.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nima.errors import NimaError
from nima.model import GRAPH_INPUT, GRAPH_OUTPUTS
from nima.safe_io import cache_folder, one_line, sha256_of
from nima.version import VERSION

Runtime = Literal["auto", "onnx", "torch"]


class Outputs(NamedTuple):
    """The outputs of a network for B photos.

    probabilities: probabilities of the ratings 1 to 10, float64 `[B, 10]`.
    features: the input of the head, float32 `[B, features]`; None if the network was opened without.
    """

    probabilities: NDArray[np.float64]
    features: NDArray[np.float32] | None


Network: TypeAlias = Callable[[NDArray[np.uint8]], Outputs]
"""Computes the outputs for RGB bytes, `[B, side, side, 3]`."""


class ScoringError(NimaError):
    """A device does not exist here, or a runtime cannot use it."""


class RuntimeMissing(NimaError):
    """ONNX Runtime is not installed, or a model cannot be converted for it, or the converted file cannot be kept."""


def open_network(model: Path, runtime: Runtime, device: str, features: bool = False) -> tuple[Network, str]:
    """Loads a checkpoint for a runtime; returns its function, and the name of the device on which it computes.

    Args:
        model: file of the checkpoint.
        runtime: "onnx", "torch", or "auto": ONNX Runtime on CPUs if the model can be converted, otherwise PyTorch.
        device: "cpu", "cuda", "mps", or "auto": the CPU for ONNX Runtime, the fastest that is present for PyTorch.
        features: True makes the network give the features, too.

    Raises:
        CheckpointError: the file is no model.
        ScoringError: the device is not present, or is no CPU although the runtime is "onnx".
        RuntimeMissing: the runtime is "onnx", and it is not installed, or the model cannot be converted or kept.
    """
    if runtime == "onnx" and device not in ("auto", "cpu"):
        raise ScoringError(f"ONNX Runtime is for the CPU here, not for {device}; leave one of the two out.")
    if uses_onnx_runtime(runtime, device):
        try:
            return _with_onnx_runtime(model, features), "cpu"
        except RuntimeMissing:
            if runtime == "onnx":
                raise
    from nima.scoring.torch_runtime import with_torch  # imported here, as ONNX Runtime needs no torch

    return with_torch(model, device, features)


def uses_onnx_runtime(runtime: Runtime, device: str) -> bool:
    """Returns True if `open_network` tries ONNX Runtime for this choice of a runtime and a device."""
    return runtime == "onnx" or (runtime == "auto" and device in ("auto", "cpu"))


def is_converted(model: Path) -> bool:
    """Returns True if the converted file of a checkpoint is in the cache."""
    return converted_model_path(model).exists()


def convert_model(model: Path) -> Path:
    """Converts a checkpoint for ONNX Runtime unless this has been done; returns the converted file in the cache.

    Raises:
        CheckpointError: the file is no model.
        RuntimeMissing: the model cannot be converted, or the converted file cannot be kept.
    """
    file = converted_model_path(model)
    if file.exists():
        return file
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RuntimeMissing(f"{file.parent} cannot be made ({error.strerror}); set NIMA_GOLEM_CACHE.") from error
    if not os.access(file.parent, os.W_OK):
        raise RuntimeMissing(f"{file.parent} cannot be written; set NIMA_GOLEM_CACHE to a folder that can.")
    from nima.model import ExportError, export_model  # imported here, as it imports torch

    try:
        return export_model(model, file, "onnx").path
    except ExportError as error:
        raise RuntimeMissing(f"{model} cannot be converted for ONNX Runtime: {error}") from error


def converted_model_path(model: Path) -> Path:
    """Returns the path in the cache for the ONNX file of a checkpoint, by its hash and by this program's version.

    The file need not exist. Raises `FileError` if the checkpoint cannot be read.
    """
    return cache_folder() / "onnx" / f"{sha256_of_model(model)}-{VERSION}.onnx"


def sha256_of_model(model: Path) -> str:
    """Returns the SHA-256 of a checkpoint, which is hashed once as long as its size and times stay.

    Raises `FileError` if it cannot be read.
    """
    try:
        status = model.stat()
    except OSError:
        return sha256_of(model)  # which says in words what is wrong
    return _sha256(model.absolute(), status.st_size, status.st_mtime_ns, status.st_ctime_ns)


@lru_cache(maxsize=8)
def _sha256(model: Path, *stamp: int) -> str:
    return sha256_of(model)


def _with_onnx_runtime(model: Path, features: bool) -> Network:
    """Makes a function that runs the checkpoint on the CPU; converts it on first use, or if the kept file is broken."""
    try:
        import onnxruntime
    except ImportError:
        raise RuntimeMissing("ONNX Runtime is not installed: pip install onnxruntime.") from None
    file = convert_model(model)
    try:
        session = _session(onnxruntime, file, features)
    except Exception:  # its exceptions have no common base
        _converted_anew(model, file)
        try:
            session = _session(onnxruntime, file, features)
        except Exception as error:
            raise RuntimeMissing(f"ONNX Runtime cannot use {model} ({one_line(str(error))}).") from error

    names = [GRAPH_OUTPUTS[0]] + [output.name for output in session.get_outputs()[len(GRAPH_OUTPUTS) :]]

    def outputs(photos: NDArray[np.uint8]) -> Outputs:
        rated, *rest = session.run(names, {GRAPH_INPUT: photos})
        found = rated.astype(np.float64)
        # In float64, the sum of the ten differs from 1 by rounding only.
        return Outputs(found / found.sum(axis=1, keepdims=True), rest[0] if rest else None)

    return outputs


def _converted_anew(model: Path, broken: Path) -> None:
    """Replaces a converted file that ONNX Runtime cannot read."""
    try:
        broken.unlink()
    except OSError as error:
        raise RuntimeMissing(f"{broken} cannot be used or removed ({error.strerror}): delete it.") from error
    convert_model(model)


def _session(onnxruntime: Any, file: Path, features: bool) -> Any:
    """Opens a converted model, with the features as a last output if they are wanted; uses as many cores as torch."""
    options = onnxruntime.SessionOptions()
    threads = os.environ.get("OMP_NUM_THREADS", "")
    options.intra_op_num_threads = int(threads) if threads.isdecimal() else os.cpu_count() or 1
    # A waiting thread must not occupy a core that could decode photos.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    source = _with_features(file) if features else os.fspath(file)
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def _with_features(file: Path) -> bytes:
    """Returns a converted model whose last output is the input of its last dense layer, which is the head."""
    import onnx  # imported here, as scores need no features

    model = onnx.load(file)
    head = [node for node in model.graph.node if node.op_type == "Gemm"][-1]
    model.graph.output.append(onnx.helper.make_tensor_value_info(head.input[0], onnx.TensorProto.FLOAT, None))
    content: bytes = model.SerializeToString()
    return content
