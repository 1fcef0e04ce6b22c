"""Reads the ratings of one CSV file: votes, mean and deviation, or stars; its header tells which."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path

from nima.ava import UNKNOWN_RATERS
from nima.datasets.rows import DatasetImportError, RatedPhoto, RatedSource, Refusal, RefusalKind, Row
from nima.datasets.scales import AVA_SCALE, STAR_SCALE, Scale, votes_of_moments, votes_on
from nima.datasets.tables import TableRow, read_csv
from nima.safe_io import one_line

PATH_COLUMNS = ("path", "photo", "image", "image_name", "file", "filename")
TEN_VOTES = tuple(f"r{rating}" for rating in range(1, 11))
FIVE_VOTES = tuple(f"c{rating}" for rating in range(1, 6))
_FORMATS = "path,r1,…,r10 or path,c1,…,c5 (votes), path,mean[,std] (with --scale), or path,stars"
_DEVIATIONS = ("std", "sd", "deviation")

ReadVotes = Callable[[TableRow], tuple[int, ...]]
"""Returns a row's votes for the ratings 1 to 10; raises `RowError` if they are wrong."""


class RowError(Exception):
    """A row is refused: the kind and the reason of the refusal."""

    def __init__(self, kind: RefusalKind, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


def csv_source(file: Path, photos: Path | None, scale: Scale | None, rejected_counts: bool) -> RatedSource:
    """Makes the source of a CSV file whose header names the photos' column and those of the ratings.

    Args:
        file: the file.
        photos: folder of the photos, from which their paths begin; None for the folder of the file.
        scale: the scale of means and stars; None for 1 to 5 stars.
        rejected_counts: True counts −1 stars (rejected) as the lowest rating, False passes over the photo.

    Raises `DatasetImportError` if the file cannot be read, its columns are not known, or it has means and there is no
    scale.
    """
    first = next(islice(read_csv(file), 1), None)
    if first is None:
        raise DatasetImportError(f"{file} has no row below its header.")
    path_column = next((name for name in PATH_COLUMNS if name in first.fields), None)
    if path_column is None:
        raise DatasetImportError(f"{file}: no column names the photos. The first line must be like {_FORMATS}.")
    read_votes = _votes_reader(file, first.fields, scale, rejected_counts)

    def rows() -> Iterator[Row]:
        return table_rows(read_csv(file), lambda row: row.fields[path_column], read_votes)

    return RatedSource(file.stem, UNKNOWN_RATERS, "unknown", photos or file.parent, rows)


def table_rows(
    table: Iterator[TableRow],
    name: Callable[[TableRow], str],
    read_votes: ReadVotes,
    is_test: Callable[[TableRow], bool] = lambda row: False,
) -> Iterator[Row]:
    """Yields a photo or a refusal for each row of a table.

    Args:
        table: the rows.
        name: returns the photo's path in a row.
        read_votes: returns the votes in a row.
        is_test: returns True if the photo of a row is for testing.
    """
    for row in table:
        try:
            yield RatedPhoto(name(row), read_votes(row), row.where, is_test(row))
        except RowError as error:
            yield Refusal(error.kind, row.where, str(error))


def counted(columns: tuple[str, ...], scale: Scale) -> ReadVotes:
    """Returns the function that reads counts of votes from columns, whose ratings divide the scale evenly."""
    steps = len(columns) - 1
    values = [scale.low + (scale.high - scale.low) * index / steps for index in range(len(columns))]

    def read(row: TableRow) -> tuple[int, ...]:
        counts = [_number(row, column) for column in columns]
        if min(counts) < 0 or max(counts) > 1e9:
            raise RowError("out of range", "a count of votes is below 0 or above a thousand million")
        if sum(counts) <= 0:
            raise RowError("unrated", "no votes")
        return votes_on(scale, values, counts)

    return read


def moments(mean: str, deviation: str | None, scale: Scale) -> ReadVotes:
    """Returns the function that reads a mean and, if a column has it, a standard deviation."""

    def read(row: TableRow) -> tuple[int, ...]:
        if not row.fields[mean]:
            raise RowError("unrated", f"no {mean}")
        value = _number(row, mean)
        spread = _number(row, deviation) if deviation is not None and row.fields[deviation] else None
        if value not in scale:
            raise RowError("out of range", f"{mean} {value:g} is not on the scale from {scale}")
        if spread is not None and spread < 0:
            raise RowError("out of range", f"{deviation} {spread:g} is below 0")
        try:
            return votes_of_moments(scale, value, spread)
        except ValueError as error:
            raise RowError("out of range", f"{deviation} {spread:g} is too large: {error}") from error

    return read


def star_votes(stars: float, scale: Scale, rejected_counts: bool) -> tuple[int, ...]:
    """Returns the votes of one photo's stars. Raises `RowError` if it is unrated (0), rejected (−1) or out of range."""
    if stars == 0 and 0 not in scale:
        raise RowError("unrated", "unrated")
    if stars == -1 and -1 not in scale:
        if not rejected_counts:
            raise RowError("rejected", "rejected")
        stars = scale.low
    if stars not in scale:
        raise RowError("out of range", f"{stars:g} stars are not on the scale from {scale}")
    return votes_on(scale, [stars], [1])


def _votes_reader(file: Path, columns: Mapping[str, str], scale: Scale | None, rejected_counts: bool) -> ReadVotes:
    if all(name in columns for name in TEN_VOTES):
        return counted(TEN_VOTES, AVA_SCALE)
    if all(name in columns for name in FIVE_VOTES):
        return counted(FIVE_VOTES, STAR_SCALE)
    if "mean" in columns:
        if scale is None:
            raise DatasetImportError(f"{file} has means: give the scale of the ratings, such as --scale 1..5.")
        deviation = next((name for name in _DEVIATIONS if name in columns), None)
        return moments("mean", deviation, scale)
    if "stars" in columns:

        def read(row: TableRow) -> tuple[int, ...]:
            if not row.fields["stars"]:
                raise RowError("unrated", "unrated")
            return star_votes(_number(row, "stars"), scale or STAR_SCALE, rejected_counts)

        return read
    shown = one_line(", ".join(columns), 200)
    raise DatasetImportError(
        f"{file}: its columns are {shown}, which tell no ratings. The first line must be like {_FORMATS}."
    )


def _number(row: TableRow, column: str) -> float:
    try:
        return row.number(column)
    except ValueError as error:
        raise RowError("malformed", str(error)) from error
