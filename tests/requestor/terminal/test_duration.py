"""Durations as people read them."""

from __future__ import annotations

import pytest

from requestor.terminal.durations import show_duration


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0 s"), (0.4, "0 s"), (119.4, "119 s"), (119.6, "2 min 0 s"), (200, "3 min 20 s"), (599.4, "9 min 59 s"),
        (599.6, "10 min"), (2700, "45 min"), (7169, "119 min"), (7171, "2 h 0 min"), (7500, "2 h 5 min"),
        (360_000, "100 h 0 min"),
    ],
)  # fmt: skip
def test_a_duration_is_as_precise_as_people_are(seconds: float, expected: str) -> None:
    assert show_duration(seconds) == expected
