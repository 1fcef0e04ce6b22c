"""Writes scores for people: one line for each photo, with the ten probabilities drawn as bars."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from nima.scoring import AVA_POPULATION, Score
from requestor.terminal import Column, table_lines

_LONGEST_POPULATION = 12  # characters of a data set's name in the heading
_LONGEST_SECOND = 14  # characters of the second model's name
_BARS = "▁▂▃▄▅▆▇█"


def as_table(
    scores: Iterable[Score], width: int | None = None, grouped: bool = False, seconded: bool = False
) -> Iterator[str]:
    """Yields the lines of a table with a row for each photo.

    A row has mean, standard deviation, stars, percentile among the photos of the model's population, probabilities of
    1 to 10, and path. A photo that could not be read has the reason instead.

    Args:
        scores: the scores, in the order of the rows.
        width: number of columns of the terminal, into which paths are cut; None if the output is no terminal.
        grouped: True adds a column with the group of each photo that has near-duplicates.
        seconded: True adds a column with the score by the second model, under its name.
    """
    rows: list[list[str] | str] = []
    population, second = AVA_POPULATION.name, "second" if seconded else ""
    for score in scores:
        population = score.population
        if score.second is not None:
            second = score.second.model.partition("@")[0][:_LONGEST_SECOND]
        if score.error is not None:
            rows.append(f"– {score.error}")
        else:
            more = [*([_second(score)] if seconded else []), *([_group(score)] if grouped else [])]
            rows.append([*_figures(score), *more, score.path])
    for line in table_lines(_columns(population, second, grouped), rows, width):
        yield f"{line}\n"


def _columns(population: str, second: str, grouped: bool) -> list[Column]:
    rank = f"in {population[:_LONGEST_POPULATION]}"
    figures = (Column("score", "right"), Column("spread", "right"), Column("stars"), Column(rank), Column("1 … 10"))
    more = [*([Column(second, "right")] if second else []), *([Column("group")] if grouped else [])]
    return [*figures, *more, Column("photo", if_narrow="cut start")]


def _figures(score: Score) -> list[str]:
    assert score.stars is not None
    assert score.probabilities is not None
    stars = "★" * score.stars + "☆" * (5 - score.stars)
    share = f"above {score.percentile:.0f}%"
    return [f"{score.aesthetic_score:.2f}", f"±{score.std:.2f}", stars, share, histogram(score.probabilities)]


def _second(score: Score) -> str:
    if score.second is None or score.second.aesthetic_score is None:
        return ""
    return f"{score.second.aesthetic_score:.2f}"


def _group(score: Score) -> str:
    if score.group is None or score.group.size == 1:
        return ""
    return f"{score.group.number}, best of {score.group.size}" if score.group.best else str(score.group.number)


def histogram(probabilities: tuple[float, ...]) -> str:
    """Returns ten bars as text, one for each rating's probability; the most probable rating has the highest bar."""
    highest = max(probabilities)
    return "".join(_BARS[round(p / highest * (len(_BARS) - 1))] for p in probabilities)
