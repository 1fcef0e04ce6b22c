"""Exports a model as one file for other programs: ONNX for any runtime, TorchScript for PyTorch without this package.

The graph takes bytes of RGB, as a decoder of images returns them, and gives probabilities and the score, so that nobody
can forget normalisation or softmax. The caller only has to make a small square of a photo; the file's own metadata
describe how.
"""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nima.errors import NimaError
from nima.model import checkpoint
from nima.model.fusion import fold_batch_norms
from nima.model.network import Nima
from nima.model.preparation import GRAPH_INPUT, GRAPH_OUTPUTS
from nima.ratings import BUCKETS
from nima.safe_io import sha256_of, write_atomically

TOLERANCE = 1e-4
"""The largest difference from PyTorch in any probability; a graph that differs more is not written."""

_BATCHES = (1, 3)  # batch sizes of the check, which so finds a graph that was traced for one size only
_OPSET = 18


class ExportError(NimaError):
    """A model cannot be exported, or its exported graph gives other results than PyTorch."""


Run = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""Runs an exported graph: photos, uint8 `[B, side, side, 3]` → probabilities, float32 `[B, 10]`."""


class PhotoRater(nn.Module):
    """Computes probabilities `[B, 10]` and scores `[B]` from photos as bytes: RGB, uint8 `[B, side, side, 3]`."""

    ratings: Tensor

    def __init__(self, network: Nima) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("ratings", torch.arange(1, BUCKETS + 1, dtype=torch.float32))

    def forward(self, photos: Tensor) -> tuple[Tensor, Tensor]:
        # As `pixels_of` does, whose `movedim` with negative numbers the exporter writes wrongly.
        probabilities = self.network(photos.permute(0, 3, 1, 2).float().div(255)).softmax(dim=1)
        return probabilities, (probabilities * self.ratings).sum(dim=1)


@dataclass(frozen=True)
class Exported:
    """An exported model.

    path: path of the file.
    difference: the largest difference from PyTorch in any probability of the check.
    metadata: the metadata in the file, name → text.
    """

    path: Path
    difference: float
    metadata: dict[str, str]


def export_model(model: Path, path: Path, file_format: str) -> Exported:
    """Exports a checkpoint, compares the result with PyTorch's, and then writes it to `path`, atomically.

    Args:
        model: file of the checkpoint.
        path: the file to write.
        file_format: "onnx" or "torchscript".

    Raises:
        CheckpointError: `model` is no checkpoint.
        ExportError: the format's packages are missing, the graph's probabilities differ from PyTorch's by more than
            `TOLERANCE`, or the file cannot be written.
    """
    network, about = checkpoint.load(model)
    fold_batch_norms(network)
    rater = PhotoRater(network).eval()
    metadata = input_contract(network, about) | {"model": f"{about.get('name', model.stem)}@{sha256_of(model)[:8]}"}
    side = network.preparation.input_size
    encode = {"onnx": _onnx, "torchscript": _torchscript}[file_format]
    content, run = encode(rater, side, metadata)
    difference = _difference(rater, run, side)
    if not difference <= TOLERANCE:  # written so that NaN is refused, too
        raise ExportError(
            f"{file_format} gives other probabilities than PyTorch, by {difference:.1e}; nothing was written."
        )
    try:
        write_atomically(path, content)
    except OSError as error:
        raise ExportError(f"{path} could not be written ({error.strerror}).") from error
    return Exported(path, difference, metadata)


def input_contract(network: Nima, about: dict[str, Any]) -> dict[str, str]:
    """Returns the facts that a caller of the exported graph needs, name → text; `about` is the model's metadata."""
    side = network.preparation.input_size
    shape = f"[batch, {side}, {side}, 3]"
    return {
        "input": f"{GRAPH_INPUT}: uint8 {shape}, RGB 0..255, rows from the top; any batch; not normalised",
        "preparation": network.preparation.describe(),
        "output": "probabilities: float32 [batch, 10], of the ratings 1..10; score: float32 [batch], their mean",
        "backbone": network.backbone,
        "licence": str(about.get("licence", "not recorded")),
        "source": str(about.get("source", "not recorded")),
    }


def _difference(rater: PhotoRater, run: Run, side: int) -> float:
    """Returns the largest difference in any probability, over smooth and rough noise images in several batch sizes."""
    random = np.random.default_rng(0)
    differences = []
    for batch in _BATCHES:
        coarse = torch.from_numpy(random.integers(0, 256, (batch, 3, 8, 8)).astype(np.float32))
        smooth = nn.functional.interpolate(coarse, (side, side), mode="bilinear").permute(0, 2, 3, 1)
        rough = random.integers(0, 256, (batch, side, side, 3), dtype=np.uint8)
        for photos in (np.ascontiguousarray(smooth.numpy().astype(np.uint8)), rough):
            with torch.inference_mode():
                expected = rater(torch.from_numpy(photos))[0].numpy()
            differences.append(float(np.abs(run(photos) - expected).max()))
    return float(np.max(differences))


def _onnx(rater: PhotoRater, side: int, metadata: dict[str, str]) -> tuple[bytes, Run]:
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise ExportError(f"ONNX needs {error.name}: pip install {error.name}.") from error
    example = torch.zeros(2, side, side, 3, dtype=torch.uint8)
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # The exporter that traces: torch.export gives the same graph of these networks, in 15 times its time.
        try:
            torch.onnx.export(
                rater,
                (example,),
                file,  # type: ignore[arg-type]  # it takes an open file, too
                dynamo=False,
                opset_version=_OPSET,
                input_names=[GRAPH_INPUT],
                output_names=list(GRAPH_OUTPUTS),
                dynamic_axes={name: {0: "batch"} for name in (GRAPH_INPUT, *GRAPH_OUTPUTS)},
            )
        except (RuntimeError, TypeError) as error:  # TypeError if a later torch does not know an argument
            raise ExportError(f"torch {torch.__version__} cannot write this model as ONNX ({error}).") from error
    model = onnx.load_from_string(file.getvalue())
    for key, value in metadata.items():
        model.metadata_props.add(key=key, value=value)
    onnx.checker.check_model(model, full_check=True)
    content = model.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return content, lambda photos: session.run([GRAPH_OUTPUTS[0]], {GRAPH_INPUT: photos})[0]


def _torchscript(rater: PhotoRater, side: int, metadata: dict[str, str]) -> tuple[bytes, Run]:
    example = torch.zeros(2, side, side, 3, dtype=torch.uint8)
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # PyTorch warns that later releases may drop tracing
        traced = torch.jit.freeze(torch.jit.trace(rater, (example,), check_trace=False))  # type: ignore[no-untyped-call]
        file = io.BytesIO()
        torch.jit.save(traced, file, _extra_files={"metadata.json": json.dumps(metadata, indent=1).encode()})
        loaded = torch.jit.load(io.BytesIO(file.getvalue()))  # type: ignore[no-untyped-call]

    def run(photos: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode():
            probabilities: NDArray[np.float32] = loaded(torch.from_numpy(photos))[0].numpy()
        return probabilities

    return file.getvalue(), run
