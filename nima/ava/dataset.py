"""Describes a data set of rated photos: its name, who rated it, its licence. It is `dataset.json` in the data's folder.

    {"name": "tiny-AVA", "raters": "a program", "licence": "MIT", "drawn": true, "private": false}

A folder without this file holds AVA if its list has as many rows as no other data set in this layout; otherwise nobody
knows who rated it, and this program says so.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nima.errors import NimaError
from nima.safe_io import (
    FileError,
    FormatError,
    build_dataclass,
    check_types,
    one_line,
    parse_json_object,
    read_bounded,
    write_atomically,
)

UNKNOWN_RATERS = "unknown people"
"""The raters of a data set that does not say who they are."""

_FILE = "dataset.json"
_MAX_BYTES = 10_000
_MAX_LENGTH = 100  # characters of a text
_TEXTS = ("name", "raters", "licence")
# Copies of AVA lack some thousands of its 255,530 photos. No other data set of this kind has half as many.
_ROWS_OF_AVA = range(200_000, 260_000)
_PART_BYTES = 1 << 20


class DatasetError(NimaError):
    """A `dataset.json` cannot be read or is malformed; the message names the file and the key."""


@dataclass(frozen=True)
class Dataset:
    """Describes a data set. Each text becomes one printable line of at most 100 characters.

    name: name of the data set.
    raters: people who rated its photos, as they are named within a sentence, such as "members of DPChallenge".
    licence: SPDX name of the licence of photos and ratings, or words.
    drawn: True if a program drew the photos and rated them.
    private: True if its photos must not be shown to others.

    Raises `FormatError` if a value has another type, or a text is empty.
    """

    name: str
    raters: str = UNKNOWN_RATERS
    licence: str = "unknown"
    drawn: bool = False
    private: bool = False

    def __post_init__(self) -> None:
        check_types(self)
        for field in _TEXTS:
            text = one_line(getattr(self, field), _MAX_LENGTH)
            if not text:
                raise FormatError(f"{field} is empty")
            object.__setattr__(self, field, text)

    @classmethod
    def read(cls, folder: Path) -> Dataset:
        """Reads the description of the data set in a folder.

        Without a `dataset.json`, the folder holds AVA if `AVA.txt` has 200,000 to 260,000 lines; otherwise a data set
        with the name of the folder, and with unknown raters.

        Raises `DatasetError` if `dataset.json` cannot be read or is malformed.
        """
        path = folder / _FILE
        try:
            text = read_bounded(path, _MAX_BYTES).decode()
            description: Dataset = build_dataclass(cls, parse_json_object(text))
            return description
        except FileError as error:
            if path.exists() or path.is_symlink():
                raise DatasetError(f"{error} It describes the data set; mend or remove it.") from error
        except (FormatError, ValueError, RecursionError) as error:
            reason = error if isinstance(error, FormatError) else "no JSON"
            raise DatasetError(
                f"{path} is malformed ({reason}). It describes the data set: an object with the texts name, raters "
                "and licence, and with drawn and private, which are true or false. Mend or remove it."
            ) from error
        if _lines(folder / "AVA.txt") in _ROWS_OF_AVA:
            return AVA
        return cls(one_line(folder.resolve().name, _MAX_LENGTH) or "photos")

    @classmethod
    def of_model(cls, metadata: Mapping[str, Any]) -> Dataset:
        """Returns the description of the data that a model was trained on.

        Args:
            metadata: checked metadata of a checkpoint: `dataset`, or only `data`, as earlier versions and published
                models have it; unknown data if neither is there.
        """
        if "dataset" in metadata:
            return cls(**metadata["dataset"])
        name = str(metadata.get("data", "")) or "unknown data"
        return AVA if name.startswith(AVA.name) else cls(name)

    def write(self, folder: Path) -> None:
        """Writes `dataset.json` into a folder, atomically. Raises OSError if it cannot be written."""
        write_atomically(folder / _FILE, (json.dumps(self.as_json(), indent=1) + "\n").encode())

    def as_json(self) -> dict[str, Any]:
        """Returns the fields as JSON values, as `dataset.json` has them, and the metadata of models."""
        return dataclasses.asdict(self)


AVA = Dataset(
    name="AVA",
    raters="members of DPChallenge, a community with photo contests",
    licence="photos belong to their photographers; for research",
)
"""The Aesthetic Visual Analysis data set (Murray et al., 2012)."""


def _lines(path: Path) -> int:
    """Returns the number of lines of a file; 0 if it cannot be read."""
    try:
        with path.open("rb") as file:
            return sum(part.count(b"\n") for part in iter(lambda: file.read(_PART_BYTES), b""))
    except OSError:
        return 0
