"""A table of an evaluation: each figure with its interval, the constant prediction's and another evaluation's."""

from __future__ import annotations

from typing import Any

from requestor.evaluation import Evaluation
from requestor.tables import Column, table_lines

# key, its name for people, key of the constant's figure (a constant has no correlation at all)
_ROWS = (
    ("srcc_mean", "SRCC of the mean", None),
    ("lcc_mean", "LCC of the mean", None),
    ("srcc_std", "SRCC of the spread", None),
    ("lcc_std", "LCC of the spread", None),
    ("emd_r1", "EMD, r = 1", "constant_emd_r1"),
    ("emd_r2", "EMD, r = 2", "constant_emd_r2"),
    ("accuracy", "Accuracy at 5", "constant_accuracy"),
)


def lines(evaluation: Evaluation, other: dict[str, Any] | None, width: int | None) -> list[str]:
    """Returns the table, line by line.

    Args:
        other: an earlier evaluation as JSON.
        width: of the terminal in columns; None for no terminal.
    """
    metrics = evaluation.metrics.as_dict()
    headings = ("model", "95% interval", "constant", *(["compared"] if other else []))
    rows = []
    for key, name, constant in _ROWS:
        low, high = evaluation.intervals.get(key, (None, None))
        interval = f"{low:.5f} … {high:.5f}" if low is not None else "–"
        row = [name, f"{metrics[key]:.5f}", interval, f"{metrics[constant] if constant else 0:.5f}"]
        rows.append(row + ([_figure(other, key)] if other else []))
    columns = [Column("metric"), *(Column(heading, "right") for heading in headings)]
    return [f"{metrics['n']:,} photos, split {evaluation.split}", *table_lines(columns, rows, width)]


def _figure(other: dict[str, Any], key: str) -> str:
    value = other.get(key)
    return f"{value:.5f}" if isinstance(value, (int, float)) else "–"
