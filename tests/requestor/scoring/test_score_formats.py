"""Scores as tables and rows, and their selection."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nima.ratings.percentiles import ava_percentile, mean_of_stars, score_quantiles, stars_of_percentile
from nima.scoring.score import Population, Score
from requestor.scoring.formats import as_csv, as_json, as_json_lines
from requestor.scoring.selection import Selection
from requestor.scoring.table import as_table, histogram


def score_of(rating: int, path: str = "photo.jpg") -> Score:
    """Makes the score of a photo that everybody gives the same rating."""
    return Score.of(path, np.eye(10)[rating - 1], "model@0", 30, 20)


FAILED = Score.failed("broken.jpg", "model@0", "broken.jpg: this is no photo in a known format.")
paths = st.text(st.characters(exclude_categories=()), max_size=12)
many_scores = st.lists(st.one_of(st.builds(score_of, st.integers(1, 10), paths), st.just(FAILED)))


def test_stars_begin_where_they_are_said_to() -> None:
    percentiles = [0, 14.9, 15, 39.9, 40, 69.9, 70, 89.9, 90, 100]
    assert [stars_of_percentile(percentile) for percentile in percentiles] == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert stars_of_percentile(ava_percentile(5.4)) == 3
    assert [stars_of_percentile(ava_percentile(mean_of_stars(stars))) for stars in range(1, 6)] == [1, 2, 3, 4, 5]


def test_scores_are_ranked_among_the_photos_of_the_models_own_data() -> None:
    own = Population.of_model({"dataset": {"name": "trees"}, "score_quantiles": score_quantiles(np.linspace(5, 6, 50))})
    rated_6 = np.eye(10)[5]
    score = Score.of("a.jpg", rated_6, "model@0", 30, 20).ranked_in(own)
    assert (score.percentile, score.stars, score.population) == (100, 5, "trees")
    assert "in trees" in next(as_table([score]))
    in_ava = Score.of("a.jpg", rated_6, "model@0", 30, 20).ranked_in(Population.of_model({"data": "trees"}))
    assert (round(in_ava.percentile or 0), in_ava.population) == (80, "AVA")
    assert "in AVA" in next(as_table([in_ava]))


def test_a_histogram_has_its_highest_bar_at_the_most_probable_rating() -> None:
    assert histogram((0.0, 0.0, 0.1, 0.2, 0.4, 0.2, 0.1, 0.0, 0.0, 0.0)) == "▁▁▃▅█▅▃▁▁▁"


@given(many_scores)
def test_json_and_json_lines_give_back_the_rows(scores: list[Score]) -> None:
    rows = json.loads(json.dumps([score.as_row() for score in scores]))
    assert [json.loads(line) for line in as_json_lines(scores)] == rows
    assert json.loads("".join(as_json(scores))) == rows


@given(many_scores)
def test_csv_gives_back_paths_and_errors_whatever_they_contain(scores: list[Score]) -> None:
    rows = list(csv.DictReader(io.StringIO("".join(as_csv(scores)), newline="")))
    assert [(row["path"].removeprefix("./"), row["error"]) for row in rows] == [
        (score.path.removeprefix("./"), score.error or "") for score in scores
    ]


@given(st.sampled_from("=+-@\t\r"), paths)
def test_no_cell_of_csv_is_a_formula(first: str, rest: str) -> None:
    hostile = first + rest
    scored = Score.of(hostile, np.full(10, 0.1), hostile, 1, 1)
    scores = [scored, Score.failed(hostile, hostile, hostile)]
    table = io.StringIO("".join(as_csv(scores)), newline="")
    for row in csv.DictReader(table):
        assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in row.values())
        assert row["path"] == f"./{hostile}"  # is still the path of the photo
        assert row["model"] == f"'{hostile}"


@given(many_scores, st.one_of(st.none(), st.integers(60, 200)))
def test_a_table_has_one_printable_line_a_photo(scores: list[Score], width: int | None) -> None:
    lines = list(as_table(scores, width))
    assert len(lines) == len(scores) + 1
    for line in lines:
        assert line.endswith("\n")
        assert line[:-1].isprintable()


@given(many_scores, st.integers(1, 9), st.floats(1, 10))
def test_a_selection_has_the_best_of_those_that_are_good_enough(scores: list[Score], top: int, least: float) -> None:
    good = [score for score in scores if score.aesthetic_score is not None and score.aesthetic_score >= least]
    chosen = list(Selection("input", top, least).of(scores))
    assert len(chosen) == min(top, len(good))
    positions = [next(i for i, score in enumerate(scores) if score is one) for one in chosen if one is not FAILED]
    assert positions == sorted(positions)
    ratings = sorted((score.aesthetic_score or 0 for score in good), reverse=True)
    assert sorted((score.aesthetic_score or 0 for score in chosen), reverse=True) == ratings[:top]


@pytest.mark.parametrize(
    ("order", "expected"), [("score", "cbax"), ("path", "abcx"), ("spread", "bcax"), ("input", "bxca")]
)
def test_orders(order: str, expected: str) -> None:
    split = Score.of("b", np.full(10, 0.1), "model@0", 1, 1)
    scores = [split, Score.failed("x", "model@0", "x: broken."), score_of(6, "c"), score_of(5, "a")]
    assert "".join(score.path for score in Selection(order).of(scores)) == expected  # type: ignore[arg-type]


def test_scores_pass_as_they_come_where_order_and_number_do_not_matter() -> None:
    taken = []

    def scores() -> Iterator[Score]:
        for rating in range(3, 7):
            taken.append(rating)
            yield score_of(rating)

    next(as_json_lines(Selection(min_score=4).of(scores())))
    assert taken == [3, 4]
