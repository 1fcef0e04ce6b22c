"""Reads and writes tables of predictions: CSV files with the columns image_id,p1,…,p10."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nima.errors import NimaError
from nima.ratings import BUCKETS

PREDICTION_COLUMNS = ["image_id", *(f"p{rating}" for rating in range(1, BUCKETS + 1))]
_SUM_TOLERANCE = 0.01  # largest difference of a sum from 1, because files are written with few digits


class PredictionTableError(NimaError):
    """A file of predictions is missing or malformed; the message names the file, and the line if there is one."""


@dataclass(frozen=True)
class PredictionTable:
    """Predictions for n photos.

    image_ids: int64 `[n]`, unique.
    probabilities: probabilities of the ratings 1 to 10, float64 `[n, 10]`, each row with sum 1 (± 0.01).
    """

    image_ids: NDArray[np.int64]
    probabilities: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.image_ids)

    def select(self, keep: NDArray[np.bool_]) -> PredictionTable:
        """Returns the rows where `keep` `[n]` is true."""
        return PredictionTable(self.image_ids[keep], self.probabilities[keep])


def read_prediction_table(path: Path) -> PredictionTable:
    """Reads a CSV file with the header `image_id,p1,…,p10`.

    Raises `PredictionTableError` if the file cannot be read, is empty, has another header, has an id twice, or has a
    row that is not an id and ten probabilities with sum 1 (± 0.01).
    """
    ids: dict[int, int] = {}  # id → line
    rows: list[list[float]] = []
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            reader = csv.reader(file)
            header = [name.strip() for name in next(reader, [])]
            if header != PREDICTION_COLUMNS:
                raise PredictionTableError(f"{path}: the first line must be {','.join(PREDICTION_COLUMNS)}.")
            for fields in reader:
                if fields:
                    image_id, row = _parse(fields, f"{path}: line {reader.line_num}")
                    if image_id in ids:
                        raise PredictionTableError(
                            f"{path}: line {reader.line_num}: image {image_id} was on line {ids[image_id]} already."
                        )
                    ids[image_id] = reader.line_num
                    rows.append(row)
    except OSError as error:
        raise PredictionTableError(f"{path}: cannot read the predictions ({error.strerror}).") from error
    except csv.Error as error:
        raise PredictionTableError(f"{path}: this is no CSV file ({error}).") from error
    if not rows:
        raise PredictionTableError(f"{path}: there are no predictions in it.")
    return PredictionTable(np.array(list(ids), dtype=np.int64), np.array(rows))


def _parse(fields: list[str], where: str) -> tuple[int, list[float]]:
    if len(fields) != len(PREDICTION_COLUMNS):
        raise PredictionTableError(f"{where}: {len(fields)} columns instead of {len(PREDICTION_COLUMNS)}.")
    try:
        image_id = int(fields[0])
        row = [float(field) for field in fields[1:]]
    except ValueError as error:
        raise PredictionTableError(f"{where}: {error}.") from error
    # The comparisons are written so that NaN fails, too.
    if not (0 <= image_id < 2**63 and all(p >= 0 for p in row) and abs(sum(row) - 1) <= _SUM_TOLERANCE):
        raise PredictionTableError(f"{where}: an id and ten probabilities with sum 1 are needed.")
    return image_id, row
