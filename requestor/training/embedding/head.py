"""Trains the head on features that were checked, and evaluates it on the hold-out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from nima.ava import Ratings
from nima.model import Nima
from nima.ratings import Metrics, compute_metrics
from nima.training import predict, train_head
from nima.wire import Shard, TrainingPlan, decode_features, default_plan, read_shard
from requestor.training.embedding.feature_store import Part

EPOCHS = 128  # four times a provider's: more epochs still help an averaged head, and cost nothing here …
MOST_STEPS = 20_000  # … as long as they take less than a minute on one core


def head_plan(images: int, seed: int) -> TrainingPlan:
    """Returns the training plan of the head for so many photos: a provider's plan with more steps, within a limit."""
    plan = default_plan(images, seed)
    return replace(plan, steps=min(math.ceil(EPOCHS * images / plan.batch_size), MOST_STEPS))


def train_on(model: Nima, parts: Sequence[tuple[Part, Path]], ratings: Ratings, seed: int) -> None:
    """Trains the head on the features of all parts, which take 1.3 GB of memory for all of AVA with MobileNetV2."""
    images, size = sum(part.images for part, _ in parts), model.head.in_features
    features, ids = np.empty((images, size), dtype=np.float16), np.empty(images, dtype=np.int64)
    start = 0
    for part, file in parts:
        image_ids, rows = read_shard(part.path).image_ids, slice(start, start + part.images)
        ids[rows], features[rows] = image_ids, decode_features(file, image_ids, size)
        start += part.images
    train_head(model, features, ratings.select(ids).votes, head_plan(images, seed))


def evaluate_on(model: Nima, holdout: Shard) -> Metrics:
    """Returns the model's metrics on the photos of the hold-out. Raises ValueError if it has no votes."""
    if holdout.votes is None:
        raise ValueError("a hold-out without votes cannot judge anything")
    return compute_metrics(predict(model, holdout.jpegs), holdout.votes)
