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

EPOCHS = 128  # four times as many as on a provider: more epochs still help an averaged head, and are cheap here
MOST_STEPS = 20_000  # so that the training takes less than a minute on one core


def head_plan(images: int, seed: int) -> TrainingPlan:
    """Returns the plan by which the head is trained on so many photos: a provider's plan with more steps.

    There are `EPOCHS` passes over the photos, but at most `MOST_STEPS` steps.
    """
    plan = default_plan(images, seed)
    return replace(plan, steps=min(math.ceil(EPOCHS * images / plan.batch_size), MOST_STEPS))


def train_on(model: Nima, parts: Sequence[tuple[Part, Path]], ratings: Ratings, seed: int) -> None:
    """Trains the model's head, in place, on the features of all parts.

    For all of AVA and MobileNetV2, the features take 1.3 GB of memory.

    Args:
        parts: each part with the file of its features.
        ratings: the ratings of all photos of the parts.
        seed: seed of the training.
    """
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
