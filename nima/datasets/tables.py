"""Reads the rows of CSV files and of Excel's worksheets from strangers, within bounds, each with its file and line."""

from __future__ import annotations

import csv
import math
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nima.datasets.rows import DatasetImportError
from nima.safe_io import FileError, check_size, one_line

_MAX_BYTES = 1 << 30  # the largest published list, of PARA's single ratings, has some tens of megabytes


@dataclass(frozen=True)
class TableRow:
    """A row of a table.

    where: file and line, such as "votes.csv: line 3".
    fields: text of each column, by its name in lower case; "" where the row is too short.
    """

    where: str
    fields: dict[str, str]

    def number(self, column: str) -> float:
        """Returns the number in a column. Raises `ValueError`, with a clause for people, if it is no finite number."""
        return to_number(self.fields[column], column)


def to_number(text: str, column: str) -> float:
    """Returns the number that a text of a column is. Raises `ValueError`, with a clause for people, if it is none."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{column} is {one_line(text, 40)!r}, which is no number")
    return number


def read_csv(path: Path, delimiter: str | None = None) -> Iterator[TableRow]:
    """Yields the rows of a CSV file in UTF-8 with a header; empty lines are passed over.

    Args:
        path: the file; a link to a file counts as the file.
        delimiter: the character between two columns; None for a comma, or a semicolon if the header has no comma.

    Raises `DatasetImportError` if the file cannot be read, is larger than 1 GiB, is no CSV or has no header.
    """
    try:
        check_size(path.resolve(), _MAX_BYTES)
        # Names of photos may be any bytes; those that are no UTF-8 come back as the file system has them.
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            first = file.readline()
            file.seek(0)
            reader = csv.reader(file, delimiter=delimiter or (";" if ";" in first and "," not in first else ","))
            header = [name.strip().lower() for name in next(reader, [])]
            if not any(header):
                raise DatasetImportError(f"{path} is empty: its first line must name the columns.")
            for values in reader:
                if values:
                    yield TableRow(f"{path.name}: line {reader.line_num}", _fields(header, values))
    except FileError as error:
        raise DatasetImportError(str(error)) from error
    except (OSError, RuntimeError) as error:
        raise DatasetImportError(f"{path} cannot be read ({error}).") from error
    except csv.Error as error:
        raise DatasetImportError(f"{path}: this is no CSV file ({error}).") from error


def read_words(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Yields (file and line, words) for each line of a text file that is not empty, its words separated by blanks.

    Raises `DatasetImportError` as `read_csv` does.
    """
    try:
        check_size(path.resolve(), _MAX_BYTES)
        with path.open(encoding="utf-8-sig", errors="surrogateescape") as file:
            for number, line in enumerate(file, start=1):
                if words := line.split():
                    yield f"{path.name}: line {number}", words
    except FileError as error:
        raise DatasetImportError(str(error)) from error
    except (OSError, RuntimeError) as error:
        raise DatasetImportError(f"{path} cannot be read ({error}).") from error


def read_worksheet(path: Path) -> Iterator[TableRow]:
    """Yields the rows of the first worksheet of an Excel file (.xlsx), whose first row names the columns.

    Raises `DatasetImportError` if openpyxl is not installed, or the file cannot be read or unpacks to more than 1 GiB.
    """
    try:
        from openpyxl import load_workbook
    except ImportError:
        raise DatasetImportError(
            f"{path} is an Excel file, which needs openpyxl: `pip install nima-golem[excel]`, or save it as a CSV file "
            "of the same name beside it."
        ) from None
    try:
        check_size(path.resolve(), _MAX_BYTES)
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > _MAX_BYTES:
                raise DatasetImportError(f"{path} unpacks to more than 1 GiB, which is not safe to read.")
        book = load_workbook(path, read_only=True, data_only=True)
        rows = book.worksheets[0].iter_rows(values_only=True)
        header = [_text(value).lower() for value in next(rows, ())]
        for number, values in enumerate(rows, start=2):
            if any(value is not None for value in values):
                yield TableRow(f"{path.name}: row {number}", _fields(header, [_text(value) for value in values]))
        book.close()
    except (DatasetImportError, FileError) as error:
        raise DatasetImportError(str(error)) from error
    except Exception as error:  # the reader raises nearly anything on files that are made to break it
        raise DatasetImportError(f"{path} cannot be read as an Excel file ({one_line(str(error), 200)}).") from error


def _text(value: object) -> str:
    return "" if value is None else str(value).strip()


def _fields(header: list[str], values: list[str]) -> dict[str, str]:
    values = [value.strip() for value in values] + [""] * (len(header) - len(values))
    return dict(zip(header, values, strict=False))
