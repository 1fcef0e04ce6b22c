"""Writes tables and lists of fields for people: cut to the terminal's width, or in full if the output is no terminal.

All cells are plain text: no escape sequence comes from here, and control characters in a cell are replaced.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import IO, Any, Literal

from nima.safe_io import printable

_GAP = "  "  # between two columns
_LEAST = 12  # columns of the terminal that a cell keeps when it is cut
_STEP = 2  # number of columns by which the further lines of a remark are indented


@dataclass(frozen=True)
class Column:
    """Describes a column of a table.

    heading: text above the column, which may be folded at its spaces.
    align: side at which the cells are aligned.
    if_narrow: treatment of cells that are too wide for the terminal. `keep`: they stay whole; `fold`: they are folded
        at their spaces; `cut start` and `cut end`: they lose their beginning or their end, which … replaces.
    """

    heading: str
    align: Literal["left", "right"] = "left"
    if_narrow: Literal["keep", "fold", "cut start", "cut end"] = "keep"


def terminal_width(file: IO[Any] | None = None) -> int | None:
    """Returns the number of columns of the terminal that `file` writes to; None if `file` is no terminal.

    The environment variable COLUMNS has priority over the terminal's own answer.

    Args:
        file: an open file; None for stdout.
    """
    return shutil.get_terminal_size().columns if (file or sys.stdout).isatty() else None


def table_lines(columns: Sequence[Column], rows: Iterable[Sequence[str] | str], width: int | None) -> list[str]:
    """Returns a line of headings and one or more lines for each row, without spaces at their ends.

    If the columns do not fit into `width` even after all permitted folds and cuts, each row becomes a list of fields.

    Args:
        columns: the columns of the table.
        rows: the rows; each is a cell for each column, or a single text, which takes the whole line.
        width: number of columns of the terminal; None for as many as the cells need.
    """
    cleaned = [printable(row) if isinstance(row, str) else [printable(cell) for cell in row] for row in rows]
    cells = [row for row in cleaned if not isinstance(row, str)]
    widths = _widths(columns, cells, width)
    if widths is None:
        return _as_fields(columns, cleaned, width)
    lines = _row_lines([column.heading for column in columns], columns, widths, heading=True)
    for row in cleaned:
        if isinstance(row, str):
            lines += _hanging(row, width, _STEP)
        else:
            lines += _row_lines(row, columns, widths)
    return lines


def field_lines(fields: Iterable[tuple[str, str]], width: int | None, name_width: int | None = None) -> list[str]:
    """Returns a line `name  value` for each field, with all values in one column, folded at their spaces.

    Args:
        fields: (name, value) of each field.
        width: number of columns of the terminal; None for as many as the values need.
        name_width: smallest width of the column of names, so that several lists can be aligned; None for the width of
            the longest name.
    """
    cleaned = [(printable(name), printable(value)) for name, value in fields]
    names = max([name_width or 0, *(_columns_of(name) for name, _ in cleaned)])
    lines = []
    for name, value in cleaned:
        start = _aligned(name, names, "left") + _GAP
        room = None if width is None else width - len(_GAP) - names
        first, *others = _folded(value, room)
        lines += [(start + first).rstrip(), *(" " * (names + len(_GAP)) + other for other in others)]
    return lines


def _widths(columns: Sequence[Column], cells: Sequence[Sequence[str]], width: int | None) -> list[int] | None:
    """Returns the width of each column; None if the columns do not fit into `width`."""
    by_column = [[row[index] for row in cells] for index in range(len(columns))]
    body = [max(map(_columns_of, column), default=0) for column in by_column]
    widths = [max(room, _columns_of(column.heading)) for room, column in zip(body, columns, strict=True)]
    if width is None:
        return widths
    excess = sum(widths) + len(_GAP) * (len(columns) - 1) - width
    # Headings are folded first, because no cell loses anything by that.
    least = [max(room, _longest_word(column.heading)) for room, column in zip(body, columns, strict=True)]
    for index in range(len(columns)):
        saved = max(0, min(excess, widths[index] - least[index]))
        widths[index], excess = widths[index] - saved, excess - saved
    for kind in ("cut start", "cut end", "fold"):
        for index, column in enumerate(columns):
            if column.if_narrow == kind:
                whole = [*map(_longest_word, by_column[index])] if kind == "fold" else [min(body[index], _LEAST)]
                saved = max(0, min(excess, widths[index] - max([_longest_word(column.heading), *whole])))
                widths[index], excess = widths[index] - saved, excess - saved
    return None if excess > 0 else widths


def _row_lines(
    row: Sequence[str], columns: Sequence[Column], widths: Sequence[int], heading: bool = False
) -> list[str]:
    parts = []
    for cell, column, width in zip(row, columns, widths, strict=True):
        if heading or column.if_narrow == "fold":
            parts.append(_folded(cell, width))
        else:
            parts.append([_cut(cell, width, column.if_narrow == "cut start")])
    lines = []
    for texts in zip_longest(*parts, fillvalue=""):
        aligned = [_aligned(text, width, c.align) for text, width, c in zip(texts, widths, columns, strict=True)]
        lines.append(_GAP.join(aligned).rstrip())
    return lines


def _as_fields(columns: Sequence[Column], rows: Sequence[Sequence[str] | str], width: int | None) -> list[str]:
    lines: list[str] = []
    names = max(_columns_of(column.heading) for column in columns)
    for row in rows:
        if isinstance(row, str):
            lines += _hanging(row, width, _STEP)
        else:
            named = [(column.heading, cell) for column, cell in zip(columns, row, strict=True) if cell]
            lines += field_lines(named, width, names)
        lines.append("")
    return lines[:-1]


def _hanging(text: str, width: int | None, step: int) -> list[str]:
    first, *others = _folded(text, None if width is None else width - step)
    return [first, *(" " * step + other for other in others)]


def _folded(text: str, width: int | None) -> list[str]:
    """Returns `text` in lines of at most `width` columns, broken at spaces; a longer word gets a line of its own."""
    if width is None or _columns_of(text) <= width:
        return [text]
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and _columns_of(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines or [""]


def _cut(text: str, width: int, at_start: bool) -> str:
    if _columns_of(text) <= width:
        return text
    room, kept = width - 1, 0
    characters = text[::-1] if at_start else text
    while room >= 0 and kept < len(text):
        room -= _columns_of(characters[kept])
        kept += room >= 0
    return "…" + text[len(text) - kept :] if at_start else text[:kept] + "…"


def _aligned(text: str, width: int, align: str) -> str:
    padding = " " * (width - _columns_of(text))
    return padding + text if align == "right" else text + padding


def _longest_word(text: str) -> int:
    return max(map(_columns_of, text.split()), default=0)


def _columns_of(text: str) -> int:
    """Returns the number of columns of a terminal that `text` takes."""
    from rich.cells import cell_len  # imported here, as `--help` should not wait for it

    return cell_len(text)
