"""Scores for programs: JSON, JSON lines and CSV, one row a photo, written as the scores come."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator

from nima.distribution import BUCKETS
from nima.score import Score

CSV_COLUMNS = (
    *("path", "aesthetic_score", "std"),
    *(f"p{rating}" for rating in range(1, BUCKETS + 1)),
    *("percentile", "stars", "model", "width", "height", "error"),
)
"""The columns of CSV: those of JSON, with a column for each of the ten probabilities."""
GROUP_COLUMNS = ("taken", "group", "best")
"""What comes after them where photos are grouped."""


def as_json_lines(scores: Iterable[Score], grouped: bool = False) -> Iterator[str]:
    """One JSON object a line."""
    for score in scores:
        yield json.dumps(score.as_row(grouped)) + "\n"


def as_json(scores: Iterable[Score], grouped: bool = False) -> Iterator[str]:
    """One JSON array, an object a line."""
    before = "[\n"
    for score in scores:
        yield before + json.dumps(score.as_row(grouped))
        before = ",\n"
    yield "[]\n" if before == "[\n" else "\n]\n"


def as_csv(scores: Iterable[Score], grouped: bool = False) -> Iterator[str]:
    """A line of column names, then one a photo (RFC 4180, but with plain line feeds); an empty field is a None."""
    line = io.StringIO()
    writer = csv.writer(line)

    def written(row: Iterable[object]) -> str:
        line.seek(0)
        line.truncate()
        writer.writerow(row)
        # Not by the writer's own option, with which it would leave a carriage return in a name unquoted.
        return line.getvalue().removesuffix("\r\n") + "\n"

    columns = (*CSV_COLUMNS, *(GROUP_COLUMNS if grouped else ()))
    yield written(columns)
    for score in scores:
        values = score.as_row(grouped)
        for rating, probability in enumerate(score.probabilities or (None,) * BUCKETS, start=1):
            values[f"p{rating}"] = probability
        yield written(values[column] for column in columns)
