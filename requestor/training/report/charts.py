"""Draws line charts as SVG that can be read on a phone: one unit is about one CSS pixel there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

WIDTH, HEIGHT = 360, 220
LEFT, RIGHT, TOP, BOTTOM = 46, 50, 14, 34  # margins; the right one holds the last value of each line
MARKED = 30  # most points of a line that are all marked; of a longer line, only the last point is marked
LINE_HEIGHT = 14
SAME = 1e-6  # values whose relative difference is smaller are drawn as equal …
TINY = 1e-9  # … and so are values whose difference is smaller than this
COLOURS = ("first", "second")

Point = tuple[int, float]


@dataclass(frozen=True)
class Series:
    """A line of a chart: its name, and its values by round, in order."""

    name: str
    points: Sequence[Point]


def ticks(low: float, high: float, wanted: int = 4) -> list[float]:
    """Returns evenly spaced numbers from at most `low` to at least `high`: about `wanted` steps of 1, 2 or 5 · 10ⁿ."""
    largest = max(abs(low), abs(high))
    if high - low <= max(SAME * largest, TINY):
        room = largest / 10 if largest > TINY else 1.0
        low, high = low - room, high + room
    raw = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, last + 1)]


def line_chart(name: str, title: str, series: Sequence[Series], digits: int, constant: float | None = None) -> Markup:
    """Draws a chart of values by round.

    Args:
        name: the chart's name, unique in its page: letters and hyphens.
        title: the chart's title, which a screen reader says before the figures.
        series: one or two lines; at least one has a point.
        digits: number of decimals of the last values.
        constant: value of a dashed line for comparison; None for no such line.
    """
    drawn = [line for line in series if line.points]
    values = [value for line in drawn for _, value in line.points] + ([] if constant is None else [constant])
    marks = ticks(min(values), max(values))
    numbers = [number for line in drawn for number, _ in line.points]
    frame = _Frame(min(numbers), max(numbers), marks[0], marks[-1])
    parts = [_grid(frame, marks), _rounds(frame)]
    if constant is not None:
        height = frame.y(constant)
        line = '<line class="constant" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>'
        parts.append(Markup(line).format(LEFT, WIDTH - RIGHT, height, height))
    parts += [_line(frame, line, colour, digits) for line, colour in zip(drawn, COLOURS, strict=False)]
    parts += _last_values(frame, drawn, digits)
    said = "; ".join(
        f"{line.name} from {line.points[0][1]:.{digits}f} to {line.points[-1][1]:.{digits}f}" for line in drawn
    )
    if constant is not None:
        said += f"; a constant prediction gets {constant:.{digits}f}"
    return Markup(
        '<svg viewBox="0 0 {} {}" role="img" aria-labelledby="{}-title {}-desc"><title id="{}-title">{}</title>'
        '<desc id="{}-desc">{}.</desc>{}</svg>'
    ).format(WIDTH, HEIGHT, name, name, name, title, name, said, Markup("").join(parts))


@dataclass(frozen=True)
class _Frame:
    """Maps rounds and values to coordinates in the picture."""

    first: int
    last: int
    low: float
    high: float

    def x(self, number: int) -> float:
        if self.first == self.last:
            return (LEFT + WIDTH - RIGHT) / 2
        return LEFT + (number - self.first) / (self.last - self.first) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - (value - self.low) / (self.high - self.low) * (HEIGHT - TOP - BOTTOM)


def _grid(frame: _Frame, marks: Sequence[float]) -> Markup:
    digits = max(0, -math.floor(math.log10(marks[1] - marks[0]) + 1e-9))
    row = Markup(
        '<line class="grid" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>'
        '<text class="scale" x="{}" y="{:.1f}" text-anchor="end">{}</text>'
    )
    return Markup("").join(
        row.format(LEFT, WIDTH - RIGHT, frame.y(mark), frame.y(mark), LEFT - 6, frame.y(mark) + 4, f"{mark:.{digits}f}")
        for mark in marks
    )


def _rounds(frame: _Frame) -> Markup:
    label = Markup('<text class="scale" x="{:.1f}" y="{}" text-anchor="middle">{}</text>')
    step = max(1, round(ticks(0, frame.last - frame.first, 8)[1])) if frame.last > frame.first else 1
    shown = [number for number in range(frame.first, frame.last + 1) if number % step == 0] or [frame.first]
    numbers = [label.format(frame.x(number), HEIGHT - BOTTOM + 16, number) for number in shown]
    return Markup("").join([*numbers, label.format((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 2, "round")])


def _line(frame: _Frame, series: Series, colour: str, digits: int) -> Markup:
    path = " ".join(f"{frame.x(number):.1f},{frame.y(value):.1f}" for number, value in series.points)
    dot = Markup('<circle class="dot" cx="{:.1f}" cy="{:.1f}" r="3.5"><title>{}</title></circle>')
    marked = series.points if len(series.points) <= MARKED else series.points[-1:]
    dots = Markup("").join(
        dot.format(frame.x(number), frame.y(value), f"{series.name}, round {number}: {value:.{digits}f}")
        for number, value in marked
    )
    return Markup('<g class="{}"><polyline points="{}"/>{}</g>').format(colour, path, dots)


def _last_values(frame: _Frame, drawn: Sequence[Series], digits: int) -> list[Markup]:
    """Draws the last value of each line beside its end, and moves two apart if they would overlap."""
    label = Markup('<text class="last {}" x="{:.1f}" y="{:.1f}">{}</text>')
    ends = [(frame.y(line.points[-1][1]) + 4, line, colour) for line, colour in zip(drawn, COLOURS, strict=False)]
    ends.sort(key=lambda end: end[0])
    if len(ends) == 2 and (gap := ends[1][0] - ends[0][0]) < LINE_HEIGHT:
        room = (LINE_HEIGHT - gap) / 2
        ends = [(ends[0][0] - room, *ends[0][1:]), (ends[1][0] + room, *ends[1][1:])]
    return [
        label.format(colour, frame.x(line.points[-1][0]) + 8, height, f"{line.points[-1][1]:.{digits}f}")
        for height, line, colour in ends
    ]
