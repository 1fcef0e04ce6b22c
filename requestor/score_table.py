"""Scores for people: one line a photo, with the ten probabilities drawn as bars."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator

from nima.score import Score
from nima.text import printable

_HEADER = "score  spread  stars  in AVA     1 … 10      "
_GROUP = 15  # columns
_BARS = "▁▂▃▄▅▆▇█"
_MIN_NAME = 16


def as_table(scores: Iterable[Score], width: int | None = None, grouped: bool = False) -> Iterator[str]:
    """A header and a line a photo: mean, standard deviation, stars, percentile among AVA's photos, probabilities of
    1..10, if `grouped` the group of those that have near-duplicates, path.

    width: of the terminal in columns; a path that would be longer loses its beginning.
    """
    header = _HEADER + (f"{'group':<{_GROUP}}" if grouped else "")
    room = None if width is None else max(_MIN_NAME, width - len(header))
    yield f"{header}photo\n"
    for score in scores:
        if score.error is not None:
            reason = printable(score.error)
            yield f"{'–':<7}{reason if room is None else _ending(reason, room + len(header) - 7)}\n"
        else:
            name = printable(score.path)
            group = f"{_group(score):<{_GROUP}}" if grouped else ""
            yield f"{_figures(score)}{group}{name if room is None else _ending(name, room)}\n"


def _figures(score: Score) -> str:
    assert score.stars is not None
    assert score.probabilities is not None
    stars = "★" * score.stars + "☆" * (5 - score.stars)
    place = f"above {score.percentile:.0f}%"
    return f"{score.aesthetic_score:<7.2f}±{score.std:<7.2f}{stars}  {place:<11}{histogram(score.probabilities):<12}"


def _group(score: Score) -> str:
    if score.group is None or score.group.size == 1:
        return ""
    return f"{score.group.number}, best of {score.group.size}" if score.group.best else str(score.group.number)


def histogram(probabilities: tuple[float, ...]) -> str:
    """Ten bars, the highest for the most probable rating."""
    highest = max(probabilities)
    return "".join(_BARS[round(p / highest * (len(_BARS) - 1))] for p in probabilities)


def _ending(text: str, room: int) -> str:
    """`text`, or as much of its end as `room` columns hold."""
    if sum(map(_columns, text)) <= room:
        return text
    room -= 1
    start = len(text)
    while start > 0 and (room := room - _columns(text[start - 1])) >= 0:
        start -= 1
    return "…" + text[start:]


def _columns(character: str) -> int:
    """How many columns of a terminal a character takes."""
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
