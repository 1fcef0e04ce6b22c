"""`nima-golem evaluate`: computes the metrics of a model, or of a file of predictions, on AVA."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import click

from requestor.errors import ConfigurationError
from requestor.terminal import GlmAmount, confirm_real_money

if TYPE_CHECKING:
    from nima.ava import Ratings, Split
    from requestor.evaluation import Evaluation


@click.command()
@click.option("--predictions", type=click.Path(path_type=Path), help="CSV file with the columns image_id,p1,…,p10.")
@click.option("--model", help="Score the photos with this model first: a file, or a name of `models list`.")
@click.option("--ava", type=click.Path(path_type=Path), required=True,
              help="File AVA.txt, or its folder. With --model, the folder also has images/<id>.jpg.")  # fmt: skip
@click.option("--backend", type=click.Choice(["here", "local", "golem"]), default="here", show_default=True,
              help="Where --model scores the photos: in this process, in subprocesses, or on Golem.")  # fmt: skip
@click.option(
    "--budget",
    type=GlmAmount(),
    help="With --backend golem: the largest amount that the evaluation may cost, such as 0.1GLM.",
)
@click.option("--yes", is_flag=True, help="Do not ask before spending real money or showing private photos.")
@click.option("--ids", type=click.Path(path_type=Path),
              help="File with the ids to evaluate. [default: splits/test.txt beside AVA.txt, or all]")  # fmt: skip
@click.option("--bootstrap", type=click.IntRange(0, 100_000), default=1000, show_default=True,
              help="Number of resamples for the 95% intervals; 0 computes no intervals.")  # fmt: skip
@click.option("--compare", type=click.Path(path_type=Path),
              help="Show an earlier evaluation (its --json output) of the same split beside this one.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def evaluate(
    predictions: Path | None,
    model: str | None,
    ava: Path,
    backend: str,
    budget: Decimal | None,
    yes: bool,
    ids: Path | None,
    bootstrap: int,
    compare: Path | None,
    as_json: bool,
) -> None:
    """Compare predicted distributions of ratings with the ratings that people gave.

    The table shows SRCC, LCC and EMD with their 95% intervals. Beside them are the figures of a constant prediction,
    the average distribution: on AVA it has an EMD of 0.064 and is right about good or bad for 70% of the photos.

    \b
    Examples:
        nima-golem evaluate --predictions mine.csv --ava AVA.txt --ids test.txt
        nima-golem evaluate --model model.safetensors --ava ava/ --json > mine.json
        nima-golem evaluate --model mobilenet_v1-ava --ava ava/ --compare mine.json
    """
    from nima.ava import check_same_split, data_folder_of, read_ratings
    from requestor.evaluation import evaluate_predictions, evaluation_lines, listed_split, read_evaluation
    from requestor.terminal import ask_about_privacy, terminal_width
    from requestor.training import evaluation_notice

    if (predictions is None) == (model is None):
        raise ConfigurationError("The predictions are not known. Pass either --predictions FILE or --model MODEL.")
    if backend == "golem" and budget is None:
        raise ConfigurationError(
            "--backend golem pays providers. Pass the largest amount that they may cost, such as --budget 0.1GLM."
        )
    if backend == "golem" and (notice := evaluation_notice(data_folder_of(ava))) is not None:
        ask_about_privacy(notice, yes)
    if backend == "golem" and budget is not None and not yes:
        from requestor.golem import chosen_network
        from requestor.setup import golem_environment

        confirm_real_money(chosen_network(golem_environment()), budget)
    other = read_evaluation(compare) if compare else None
    ratings = read_ratings(ava)
    split = listed_split(ava if ava.is_dir() else ava.parent, ids) if predictions is None or ids is not None else None
    if model is not None:
        evaluation = _of_model(model, ava, ratings, split, bootstrap, backend, budget)
    else:
        from nima.ava import read_prediction_table

        assert predictions is not None
        evaluation = evaluate_predictions(read_prediction_table(predictions), ratings, split, bootstrap)
    if other is not None:
        there = other["split"]
        check_same_split(evaluation.split.name, evaluation.split.hash, there["name"], there["hash"])
    if evaluation.missing:
        click.echo(f"{evaluation.missing:,} images of the split have no rating or no prediction.", err=True)
    if as_json:
        click.echo(json.dumps(evaluation.as_json()))
    else:
        click.echo("\n".join(evaluation_lines(evaluation, other, terminal_width())))


def _of_model(
    model: str, ava: Path, ratings: Ratings, split: Split | None, bootstrap: int, backend: str, budget: Decimal | None
) -> Evaluation:
    from nima.ava import Split, data_folder_of
    from nima.model import checkpoint
    from requestor.evaluation import check_not_trained_on, evaluate_predictions
    from requestor.terminal import find_or_fetch_model, progress_bar

    ava = data_folder_of(ava)
    if not ava.is_dir():
        raise ConfigurationError(
            f"--ava {ava} is not a folder. With --model it must be the folder with AVA.txt and images/."
        )
    split = split or Split.of(ratings.image_ids, "all of AVA.txt")
    path = find_or_fetch_model(model)
    metadata = checkpoint.read_metadata(path)
    warning = check_not_trained_on(metadata.get("split"), split)
    if warning:
        click.echo(warning, err=True)
    with progress_bar("Scoring") as progress:
        rated = split.image_ids[ratings.known(split.image_ids)]
        if backend == "here":
            from requestor.evaluation import predict_here

            table = predict_here(path, ava, rated, progress)
        else:
            from requestor.evaluation import predict_on_backend

            table = predict_on_backend(backend, budget, path, ava, rated, progress)
    return evaluate_predictions(table, ratings, split, bootstrap, str(metadata.get("name", path.stem)))
