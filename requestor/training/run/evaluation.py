"""Evaluates the best model: providers predict the test photos, and the metrics are computed here."""

from __future__ import annotations

from typing import Any

import numpy as np

from nima.ava import Ratings
from nima.model import checkpoint
from nima.ratings import RatingPairs, mean_rating, score_quantiles
from requestor.backends import Backend
from requestor.errors import TrainingFailed
from requestor.evaluation import collect_predictions, evaluation_task
from requestor.records import RunFolder, TrainingState
from requestor.training.data import Dataset
from requestor.training.embedding import FOLDS, LEAST_TEST, cross_validate
from requestor.training.providers import Providers, Verdict
from requestor.training.run.context import RunContext
from requestor.training.run.preparation import base_model, store_model
from requestor.training.run.results import write_predictions


async def evaluate(
    context: RunContext,
    backend: Backend,
    dataset: Dataset,
    ratings: Ratings,
    providers: Providers,
    state: TrainingState,
) -> dict[str, Any]:
    """Has providers predict the test photos, and writes `predictions.csv` and `evaluation.json`.

    If the best model was evaluated before, nobody is asked again.

    Returns the content of `evaluation.json`: round, split, metrics, intervals, and quantiles of the scores. Raises
    TrainingFailed if predictions are missing.
    """
    folder = context.folder
    if (known := read_evaluation(folder, state)) is not None:
        return known
    model, _ = checkpoint.load(folder.checkpoint(state.best_round))
    _, path = store_model(folder, model)
    tasks = [
        evaluation_task(number, context.config.backbone, path, shard, images)
        for number, (shard, images) in enumerate(zip(dataset.test.paths, dataset.test.images, strict=True))
    ]
    context.progress.stage("Evaluating", len(tasks), at_once=context.config.workers)
    done = 0

    def on_part(photos: int) -> None:
        nonlocal done
        done += 1
        context.progress.advance_to(done)

    collected = await collect_predictions(
        backend, tasks, on_part, lambda provider, reason: providers.refused(provider, Verdict("false", reason)),
        context.config.workers, context.config.audit,
    )  # fmt: skip
    if problems := collected.problems:
        raise TrainingFailed(
            f"{len(problems)} of {len(tasks)} evaluation tasks failed ({problems[0]}). "
            "The trained model is kept: run the same command again to evaluate it."
        )
    image_ids, predicted = (np.concatenate(columns) for columns in zip(*collected.parts, strict=True))
    pairs = RatingPairs.of(predicted, ratings.select(image_ids).votes)
    write_predictions(folder.path / "predictions.csv", image_ids, predicted)
    evaluation = {
        "round": state.best_round,
        "split": context.split.as_json(),
        "metrics": pairs.metrics().as_dict(),
        "intervals": pairs.intervals(),
        "score_quantiles": score_quantiles(mean_rating(predicted)),
        "audited": collected.audited,
    }
    folder.write("evaluation.json", evaluation)
    return evaluation


def cross_validate_few(context: RunContext, dataset: Dataset, ratings: Ratings) -> dict[str, Any] | None:
    """Cross-validates the head if too few photos are for testing, and writes `cross_validation.json`.

    Returns the content of the file: folds, metrics and intervals; None if there are enough photos for testing, or the
    strategy keeps no features. If the file exists, nothing is computed.
    """
    folder, config = context.folder, context.config
    if not config.strategy.embeds or sum(dataset.test.images) >= LEAST_TEST:
        return None
    if (known := folder.read("cross_validation.json")) is not None:
        return dict(known)
    context.progress.stage("Cross-validating")
    _, base = base_model(context, dataset, ratings)
    kept = folder.path / "embedding"
    pairs = cross_validate(dataset, ratings, base, kept, config.seed, prior=config.start is None)
    validation = {"folds": FOLDS, "metrics": pairs.metrics().as_dict(), "intervals": pairs.intervals()}
    folder.write("cross_validation.json", validation)
    return validation


def read_evaluation(folder: RunFolder, state: TrainingState) -> dict[str, Any] | None:
    """Returns the content of `evaluation.json`; None if the best model was not evaluated yet."""
    evaluation = folder.read("evaluation.json")
    return dict(evaluation) if evaluation is not None and evaluation.get("round") == state.best_round else None
