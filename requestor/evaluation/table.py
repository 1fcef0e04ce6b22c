"""Writes an evaluation as a table: its figures with intervals, and those of a constant and of another evaluation."""

from __future__ import annotations

from typing import Any

from nima.ratings import metric_rows
from requestor.evaluation.evaluation import Evaluation
from requestor.terminal import Column, table_lines


def evaluation_lines(evaluation: Evaluation, other: dict[str, Any] | None, width: int | None) -> list[str]:
    """Returns the lines of the table.

    Args:
        evaluation: the evaluation.
        other: an earlier evaluation as JSON, for comparison; None for none.
        width: number of columns of the terminal; None if the output is no terminal.
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
