"""Draws the confusion matrix of the ten buckets as SVG.

Each row is a rated bucket; the darker a cell, the more of the row's photos it has.
"""

from __future__ import annotations

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from nima.ratings import BUCKETS

CELL, GAP = 32, 2
LEFT, TOP, BOTTOM = 34, 4, 38
WIDTH, HEIGHT = LEFT + BUCKETS * CELL + 4, TOP + BUCKETS * CELL + BOTTOM
STRONG = 0.74  # from this opacity on, a cell is so dark that its count is drawn in a light colour


def heat_map(counts: NDArray[np.int64]) -> Markup:
    """Draws `counts`, `[10, 10]` from `nima.ratings.confusion_counts`; the row of rating 10 is at the top."""
    rated = counts.sum(axis=1)
    cells = Markup("").join(
        _cell(row, column, int(counts[row, column]), int(rated[row]))
        for row in range(BUCKETS)
        for column in range(BUCKETS)
    )
    label = Markup('<text class="scale" x="{}" y="{}" text-anchor="{}">{}</text>')
    scales = [label.format(_x(i) + CELL / 2, TOP + BUCKETS * CELL + 16, "middle", i + 1) for i in range(BUCKETS)]
    scales += [label.format(LEFT - 8, _y(i) + CELL / 2 + 4, "end", i + 1) for i in range(BUCKETS)]
    middle = TOP + BUCKETS * CELL / 2
    names = Markup(
        '<text class="scale" x="{}" y="{}" text-anchor="middle">predicted mean</text>'
        '<text class="scale" transform="translate(10 {}) rotate(-90)" text-anchor="middle">rated mean</text>'
    ).format(LEFT + BUCKETS * CELL / 2, HEIGHT - 4, middle)
    agreeing = f"{int(np.trace(counts))} of {int(counts.sum())} photos are predicted into the bucket they were rated in"
    return Markup(
        '<svg class="heat" viewBox="0 0 {} {}" role="img" aria-labelledby="heat-title heat-desc">'
        '<title id="heat-title">Predicted and rated mean of the test photos, in ten buckets</title>'
        '<desc id="heat-desc">{}.</desc>{}{}{}</svg>'
    ).format(WIDTH, HEIGHT, agreeing, cells, Markup("").join(scales), names)


def _cell(row: int, column: int, count: int, rated: int) -> Markup:
    kind = "cell same" if row == column else "cell"
    share = count / rated if rated else 0.0
    # A single photo among thousands must be visible, too.
    opacity = 0.08 + 0.92 * share if count else 0.0
    text = Markup('<text class="count{}" x="{}" y="{}" text-anchor="middle">{}</text>')
    number = text.format(
        " strong" if opacity >= STRONG else "", _x(column) + CELL / 2, _y(row) + CELL / 2 + 4, _short(count)
    )
    said = f"rated {row + 1}, predicted {column + 1}: {count} of {rated} photos ({share:.0%})"
    return Markup(
        '<g><title>{}</title><rect class="{}" x="{}" y="{}" width="{}" height="{}" rx="4"/>'
        '<rect class="heat-fill" x="{}" y="{}" width="{}" height="{}" rx="4" fill-opacity="{:.3f}"/>{}</g>'
    ).format(
        said, kind, _x(column) + GAP / 2, _y(row) + GAP / 2, CELL - GAP, CELL - GAP,
        _x(column) + GAP / 2, _y(row) + GAP / 2, CELL - GAP, CELL - GAP, opacity, number if count else "",
    )  # fmt: skip


def _x(column: int) -> float:
    return LEFT + column * CELL


def _y(row: int) -> float:
    return TOP + (BUCKETS - 1 - row) * CELL


def _short(count: int) -> str:
    """Writes a count in at most four characters: 9999, 12k."""
    return str(count) if count < 10_000 else f"{count / 1000:.0f}k"
