"""Scores for people: one line a photo, with the ten probabilities drawn as bars."""

from __future__ import annotations

from nima.scoring import Score

HEADER = "score   spread  in AVA     1 … 10      photo"

_BARS = "▁▂▃▄▅▆▇█"


def line(score: Score) -> str:
    """One photo: mean ± standard deviation, percentile among AVA's photos, probabilities of 1..10, path."""
    path = printable(score.path)
    if score.error is not None:
        return f"{'–':<8}{'':<8}{'':<11}{'':<12}{printable(score.error)}"
    assert score.aesthetic_score is not None
    assert score.std is not None
    assert score.percentile is not None
    assert score.probabilities is not None
    place = f"above {score.percentile:.0f}%"
    return f"{score.aesthetic_score:<8.2f}±{score.std:<7.2f}{place:<11}{histogram(score.probabilities):<12}{path}"


def histogram(probabilities: tuple[float, ...]) -> str:
    """Ten bars, the highest for the most probable rating."""
    highest = max(probabilities)
    return "".join(_BARS[round(p / highest * (len(_BARS) - 1))] for p in probabilities)


def printable(text: str) -> str:
    """A file's name may hold anything, terminal commands too."""
    return "".join(character if character.isprintable() else "�" for character in text)
