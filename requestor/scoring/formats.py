"""Writes scores for programs: as JSON, JSON lines or CSV, one row for each photo, as the scores arrive."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator

from nima.ratings import BUCKETS
from nima.scoring import Score

CSV_COLUMNS = (
    *("path", "aesthetic_score", "std"),
    *(f"p{rating}" for rating in range(1, BUCKETS + 1)),
    *("percentile", "stars", "population", "model", "width", "height", "error"),
)
"""The columns of CSV: those of JSON, with one column for each of the ten probabilities."""
SECOND_COLUMNS = ("second_score", "second_std", "second_model")
"""The further columns if a second model scores, too."""
GROUP_COLUMNS = ("taken", "group", "best", "sequence", "sharpness", "exposure")
"""The further columns if photos are grouped."""


_TEXTS = {"population", "model", "second_model", "error"}
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # first characters of a cell that spreadsheets compute or skip


def as_cell(value: object, mark: str = "'") -> object:
    """Returns the value of a CSV cell; a text that a spreadsheet would take for a formula gets `mark` at its start.

    Source: OWASP, "CSV Injection".
    """
    return mark + value if isinstance(value, str) and value.startswith(_FORMULA) else value


def as_json_lines(scores: Iterable[Score], grouped: bool = False, seconded: bool = False) -> Iterator[str]:
    """Yields one JSON object per line."""
    for score in scores:
        yield json.dumps(score.as_row(grouped, seconded)) + "\n"


def as_json(scores: Iterable[Score], grouped: bool = False, seconded: bool = False) -> Iterator[str]:
    """Yields one JSON array, with one object per line."""
    before = "[\n"
    for score in scores:
        yield before + json.dumps(score.as_row(grouped, seconded))
        before = ",\n"
    yield "[]\n" if before == "[\n" else "\n]\n"


def as_csv(scores: Iterable[Score], grouped: bool = False, seconded: bool = False) -> Iterator[str]:
    """Yields a line of column names, then one line for each photo (RFC 4180, but with plain line feeds).

    An empty field stands for None. A path that a spreadsheet would take for a formula begins with `./`, other texts
    like this with an apostrophe.
    """
    line = io.StringIO()
    writer = csv.writer(line)

    def written(row: Iterable[object]) -> str:
        line.seek(0)
        line.truncate()
        writer.writerow(row)
        # The line feed is added here and not by the writer's option, with which the writer would not quote a carriage
        # return in a name.
        return line.getvalue().removesuffix("\r\n") + "\n"

    columns = (*CSV_COLUMNS, *(SECOND_COLUMNS if seconded else ()), *(GROUP_COLUMNS if grouped else ()))
    yield written(columns)
    for score in scores:
        values = score.as_row(grouped, seconded)
        for rating, probability in enumerate(score.probabilities or (None,) * BUCKETS, start=1):
            values[f"p{rating}"] = probability
        values["path"] = as_cell(values["path"], "./")
        values |= {column: as_cell(values[column]) for column in _TEXTS & values.keys()}
        yield written(values[column] for column in columns)
