"""An evaluation for people: each figure with its interval, the constant's beside it, and another evaluation's."""

from __future__ import annotations

from typing import Any

from requestor.evaluation import Evaluation

# key, what people call it, key of the constant's figure (which has no correlation at all)
_ROWS = (
    ("srcc_mean", "SRCC of the mean", None),
    ("lcc_mean", "LCC of the mean", None),
    ("srcc_std", "SRCC of the spread", None),
    ("lcc_std", "LCC of the spread", None),
    ("emd_r1", "EMD, r = 1", "constant_emd_r1"),
    ("emd_r2", "EMD, r = 2", "constant_emd_r2"),
    ("accuracy", "Accuracy at 5", "constant_accuracy"),
)


def lines(evaluation: Evaluation, other: dict[str, Any] | None) -> list[str]:
    """The table, line by line; `other` is an earlier evaluation as JSON."""
    metrics = evaluation.metrics.as_dict()
    head = f"{'':<20}{'model':>9}{'95% interval':>22}{'constant':>12}"
    table = [f"{metrics['n']:,} photos, split {evaluation.split}", head + (f"{'compared':>12}" if other else "")]
    for key, name, constant in _ROWS:
        low, high = evaluation.intervals.get(key, (None, None))
        interval = f"{low:.5f} … {high:.5f}" if low is not None else "–"
        line = f"{name:<20}{metrics[key]:>9.5f}{interval:>22}{metrics[constant] if constant else 0:>12.5f}"
        table.append(line + (f"{_figure(other, key):>12}" if other else ""))
    return table


def _figure(other: dict[str, Any], key: str) -> str:
    value = other.get(key)
    return f"{value:.5f}" if isinstance(value, (int, float)) else "–"
