"""Writes an evaluation as a table: figures with intervals, beside those of a constant and of another evaluation."""

from __future__ import annotations

from typing import Any

from nima.ratings import metric_rows
from requestor.evaluation.evaluation import Evaluation
from requestor.terminal import Column, table_lines


def evaluation_lines(evaluation: Evaluation, other: dict[str, Any] | None, width: int | None) -> list[str]:
    """Returns the table, line by line.

    Args:
        other: an earlier evaluation as JSON.
        width: of the terminal in columns; None for no terminal.
    """
    metrics = evaluation.metrics.as_dict()
    headings = ("model", "95% interval", "constant", *(["compared"] if other else []))
    rows = []
    for metric in metric_rows(metrics, evaluation.intervals):
        constant = "–" if metric.constant is None else f"{metric.constant:.5f}"
        row = [metric.name, f"{metric.model:.5f}", metric.interval(5), constant]
        rows.append(row + ([_figure(other, metric.key)] if other else []))
    columns = [Column("metric"), *(Column(heading, "right") for heading in headings)]
    return [f"{metrics['n']:,} photos, split {evaluation.split}", *table_lines(columns, rows, width)]


def _figure(other: dict[str, Any], key: str) -> str:
    value = other.get(key)
    return f"{value:.5f}" if isinstance(value, (int, float)) else "–"
