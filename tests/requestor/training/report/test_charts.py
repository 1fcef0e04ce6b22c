"""Scales and drawings of the report's charts."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from requestor.training.report.charts import Series, line_chart, ticks
from requestor.training.report.heat_map import heat_map

VALUES = st.floats(-1e6, 1e6)


@given(VALUES, VALUES)
def test_ticks_enclose_the_values_and_are_few_and_even(one: float, other: float) -> None:
    low, high = min(one, other), max(one, other)
    marks = ticks(low, high)
    steps = np.diff(marks)
    assert 2 <= len(marks) <= 10
    assert marks[0] <= low + 1e-6 * steps[0]
    assert marks[-1] >= high - 1e-6 * steps[0]
    np.testing.assert_allclose(steps, steps[0], rtol=1e-6)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.039, 0.099, [0.02, 0.04, 0.06, 0.08, 0.1]),
        (0, 1, [0, 0.5, 1]),
        (0.914, 0.938, [0.91, 0.92, 0.93, 0.94]),
        (3, 3, [2.6, 2.8, 3.0, 3.2, 3.4]),
    ],
)
def test_ticks_are_round_numbers(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(expected)


@given(st.lists(st.tuples(st.integers(0, 10_000), VALUES), min_size=1, unique_by=lambda point: point[0]))
def test_every_point_is_drawn_inside_the_picture(points: list[tuple[int, float]]) -> None:
    drawing = ElementTree.fromstring(line_chart("any", "Any", [Series("line", sorted(points))], 2, constant=0.0))
    (line,) = drawing.iter("polyline")
    drawn = np.array([pair.split(",") for pair in line.attrib["points"].split()], dtype=float)
    assert len(drawn) == len(points)
    _, _, width, height = map(float, drawing.attrib["viewBox"].split())
    assert (drawn >= 0).all()
    assert (drawn <= [width, height]).all()


def test_a_chart_says_in_words_what_it_shows_and_escapes_it() -> None:
    lines = [Series("<b>hold-out</b>", [(1, 0.5), (2, 0.25)]), Series("claimed", [(2, 0.3)])]
    drawing = line_chart("loss", "Loss", lines, 2, constant=0.75)
    assert "<b>" not in drawing
    description = ElementTree.fromstring(drawing).findtext("desc")
    assert description == (
        "<b>hold-out</b> from 0.50 to 0.25; claimed from 0.30 to 0.30; a constant prediction gets 0.75."
    )


def test_last_values_do_not_overlap() -> None:
    lines = [Series("one", [(1, 0.0), (2, 0.5)]), Series("other", [(1, 1.0), (2, 0.501)])]
    drawing = ElementTree.fromstring(line_chart("any", "Any", lines, 3))
    heights = [float(text.attrib["y"]) for text in drawing.iter("text") if "last" in text.attrib["class"]]
    assert abs(heights[0] - heights[1]) >= 14


def test_the_heat_map_is_normalised_by_row_and_shows_counts() -> None:
    counts = np.zeros((10, 10), dtype=np.int64)
    counts[4, 4], counts[4, 5], counts[6, 6], counts[9, 0] = 3, 1, 20_000, 1
    drawing = ElementTree.fromstring(heat_map(counts))
    shown = {}
    for cell in drawing.iter("g"):
        rated, predicted = map(int, re.findall(r"\d+", str(cell.findtext("title")))[:2])
        opacity = float(
            next(rect for rect in cell.iter("rect") if rect.attrib["class"] == "heat-fill").attrib["fill-opacity"]
        )
        shown[rated, predicted] = (cell.findtext("text"), opacity)
    assert len(shown) == 100
    assert {place: text for place, (text, _) in shown.items() if text} == {
        (5, 5): "3", (5, 6): "1", (7, 7): "20k", (10, 1): "1",
    }  # fmt: skip
    assert shown[7, 7][1] == shown[10, 1][1] == 1
    assert 0 == shown[1, 1][1] < shown[5, 6][1] < shown[5, 5][1] < 1
