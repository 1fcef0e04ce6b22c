"""Reads the header of a checkpoint: all that can be known of a model without its tensors, and without torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nima.errors import NimaError
from nima.model.metadata import checked_metadata
from nima.model.preparation import PREPARATIONS, Part, Preparation, PreparationError
from nima.safe_io import FileError, FormatError, one_line, parse_json_object, read_tensor_header

FORMAT = 1
HEADER_KEY = "nima"
"""The key in the header of the safetensors file that holds what this program says of the model."""

PREPARATION_KEY = "preparation"
EARLIER_PART: Part = "crop"
"""The part of a photo that a model sees if its metadata do not say so."""


class CheckpointError(NimaError):
    """A file is not a checkpoint of this program, is broken, or cannot be read or written."""


@dataclass(frozen=True)
class CheckpointHeader:
    """The header of a checkpoint.

    path: path of the file.
    backbone: name of the backbone, which this program need not know.
    multi_level: True if the head sees the pooled output of every block.
    metadata: the metadata, with printable texts.
    tensors: dtype, such as "F32", and shape of each tensor, by name.
    """

    path: Path
    backbone: str
    multi_level: bool
    metadata: dict[str, Any]
    tensors: dict[str, tuple[str, tuple[int, ...]]]

    @property
    def preparation(self) -> Preparation:
        """Returns the preparation of photos for the model; raises `CheckpointError` if the backbone is not known."""
        if self.backbone not in PREPARATIONS:
            raise CheckpointError(
                f"{self.path} needs a later version of this program: There is no backbone "
                f"{one_line(self.backbone, 100)!r}; choose one of {', '.join(PREPARATIONS)}."
            )
        return PREPARATIONS[self.backbone].with_part(self.metadata.get(PREPARATION_KEY, EARLIER_PART))


def read_metadata(path: Path) -> dict[str, Any]:
    """Reads the metadata of a checkpoint without its tensors, and makes their texts printable.

    Raises `CheckpointError` as `read_header` does.
    """
    return read_header(path).metadata


def read_header(path: Path) -> CheckpointHeader:
    """Reads the header of a checkpoint.

    Raises `CheckpointError` if the file is missing, is not a checkpoint, has a later format, needs a preparation that
    this program does not know, or has metadata of another form.
    """
    try:
        header = read_tensor_header(path)
    except (FileError, FormatError) as error:
        raise CheckpointError(f"{path} could not be read as a model ({str(error).rstrip('.')}).") from error
    if HEADER_KEY not in header.metadata:
        raise CheckpointError(f"{path} is not a model of this program: its header does not say what it is.")
    try:
        about = parse_json_object(header.metadata[HEADER_KEY])
    except FormatError as error:
        raise CheckpointError(f"{path} is broken: its header is wrong ({error}).") from error
    except (ValueError, RecursionError):
        about = {}
    types = {"format": int, "backbone": str, "multi_level": bool, "metadata": dict}
    if not all(type(about.get(key)) is kind for key, kind in types.items()):
        raise CheckpointError(f"{path} is broken: its header does not say what it is.")
    if about["format"] != FORMAT or about.keys() != types.keys():
        raise CheckpointError(
            f"{path} has format {about['format']} with the keys {one_line(', '.join(sorted(about)), 200)}, and this "
            f"program reads {FORMAT} with {', '.join(sorted(types))}; use a newer one."
        )
    try:
        metadata = checked_metadata(about["metadata"])
        Preparation().with_part(metadata.get(PREPARATION_KEY, EARLIER_PART))
    except FormatError as error:
        raise CheckpointError(f"{path} is broken: {error}.") from error
    except PreparationError as error:
        raise CheckpointError(f"{path} needs a later version of this program: {error}") from error
    return CheckpointHeader(path, about["backbone"], about["multi_level"], metadata, header.tensors)
