"""Reads the header of a safetensors file within bounds, before anything opens its tensors.

The library that opens them takes headers of 100 MB, and of two tensors with one name it takes the last.
Source: https://huggingface.co/docs/safetensors, "Format".
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nima.safe_io.files import FileError
from nima.safe_io.strict_json import FormatError, parse_json_object, require

MAX_HEADER_BYTES = 4 * 1024 * 1024
"""Bytes of the largest header that is read; that of the largest model here has about 100,000."""

_METADATA = "__metadata__"
_LENGTH_BYTES = 8  # of the header's length, a little-endian number at the beginning


@dataclass(frozen=True)
class TensorHeader:
    """The header of a safetensors file.

    metadata: the texts that its writer added, by name.
    tensors: dtype, such as "F32", and shape of each tensor, by name.
    """

    metadata: dict[str, str]
    tensors: dict[str, tuple[str, tuple[int, ...]]]


def read_tensor_header(path: Path, max_bytes: int = MAX_HEADER_BYTES) -> TensorHeader:
    """Reads and checks the header of a safetensors file of any size.

    Args:
        path: the file.
        max_bytes: bytes that the header may have.

    Raises:
        FileError: the file is missing, no plain file, or cannot be read.
        FormatError: the header is cut off, longer than `max_bytes`, no JSON, has a key twice, or a wrong structure.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a FIFO makes nobody wait
        with open(handle, "rb") as file:
            start = file.read(_LENGTH_BYTES)
            length = int.from_bytes(start, "little")
            require(len(start) == _LENGTH_BYTES, "it has no safetensors header")
            require(length <= max_bytes, f"its safetensors header has more than {max_bytes} bytes")
            text = file.read(length)
    except OSError as error:
        raise FileError(f"{path} could not be read: {error.strerror}.") from error
    require(len(text) == length, "its safetensors header is cut off")
    try:
        header = parse_json_object(text.decode())
    except FormatError as error:
        raise FormatError(f"its safetensors header is wrong: {error}") from error
    except (ValueError, RecursionError) as error:
        raise FormatError("its safetensors header is no JSON") from error
    metadata = header.pop(_METADATA, {})
    require(
        isinstance(metadata, dict) and all(isinstance(value, str) for value in metadata.values()),
        "the metadata of its safetensors header are not texts",
    )
    return TensorHeader(metadata, {name: _tensor(entry) for name, entry in header.items()})


def _tensor(entry: Any) -> tuple[str, tuple[int, ...]]:
    if isinstance(entry, dict):
        dtype, shape = entry.get("dtype"), entry.get("shape")
        if isinstance(dtype, str) and isinstance(shape, list) and all(type(side) is int for side in shape):
            return dtype, tuple(shape)
    raise FormatError("its safetensors header describes a tensor that cannot be")
