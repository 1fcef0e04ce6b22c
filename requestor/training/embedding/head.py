"""Trains the head on features that were checked, and evaluates it on the hold-out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from nima.ava import Ratings
from nima.model import Nima
from nima.ratings import Metrics, compute_metrics
from nima.training import predict, train_head
from nima.wire import Shard, TrainingPlan, default_plan
from requestor.training.embedding.feature_store import Part, gathered_features

EPOCHS = 128  # four times as many as on a provider: more epochs still help an averaged head, and are cheap here
MOST_STEPS = 20_000  # so that the training takes less than a minute on one core


def head_plan(images: int, seed: int) -> TrainingPlan:
    """Returns the plan by which the head is trained on so many photos: a provider's plan with more steps.

    There are `EPOCHS` passes over the photos, but at most `MOST_STEPS` steps.
    """
    plan = default_plan(images, seed)
    return replace(plan, steps=min(math.ceil(EPOCHS * images / plan.batch_size), MOST_STEPS))


def train_on(model: Nima, parts: Sequence[tuple[Part, Path]], ratings: Ratings, seed: int, scratch: Path) -> None:
    """Trains the model's head, in place, on the features of all parts.

    Args:
        model: the model.
        parts: each part with the file of its features.
        ratings: the ratings of all photos of the parts.
        seed: seed of the training.
        scratch: a file that may be written meanwhile; all features are gathered there.
    """
    with gathered_features(parts, scratch, model.head.in_features) as (image_ids, features):
        train_head(model, features, ratings.select(image_ids).votes, head_plan(len(image_ids), seed))


def evaluate_on(model: Nima, holdout: Shard) -> Metrics:
    """Returns the model's metrics on the photos of the hold-out. Raises ValueError if it has no votes."""
    if holdout.votes is None:
        raise ValueError("a hold-out without votes cannot judge anything")
    return compute_metrics(predict(model, holdout.jpegs), holdout.votes)
