"""Measures by cross-validation how well a head does that is trained on the features of few photos.

A tenth of 60 photos is six, whose figures say nothing. In `FOLDS` folds, each photo is predicted once, by a head that
was trained on the photos of the other folds: on four fifths of all, which is about what the run's own head has.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from nima.ava import Ratings
from nima.model import Nima, checkpoint
from nima.ratings import BUCKETS, RatingPairs
from nima.training import embed, train_head
from nima.wire import read_shard
from requestor.training.data import Dataset
from requestor.training.embedding.feature_store import KeptFeatures, gathered_features, parts_of
from requestor.training.embedding.head import head_plan

FOLDS = 5
LEAST_TEST = 100
"""Number of photos for testing below which figures come from cross-validation, too."""


def cross_validate(dataset: Dataset, ratings: Ratings, base: Path, folder: Path, seed: int, prior: bool) -> RatingPairs:
    """Cross-validates the head on the photos for training, for testing and of the hold-out.

    The features of the photos for training are those that `embed_and_train` kept; the others are computed here.

    Args:
        dataset: the data set.
        ratings: the ratings of all its photos.
        base: path of the base model.
        folder: folder in which `embed_and_train` left its features.
        seed: seed of the folds and of the training.
        prior: True if the base model's head begins with the average votes, which each fold then takes from its own
            photos alone; False if it was trained before.

    Returns:
        The prediction for each photo, with its ratings.

    Raises FeaturesError and ShardError if a file is missing or damaged, and OSError if the folder cannot be written.
    """
    model, _ = checkpoint.load(base)
    kept = KeptFeatures(folder / "features")
    present = [(part, path) for part in parts_of(dataset) if (path := kept.of(part.sha256))]
    with gathered_features(present, folder / "gathered.f16", model.head.in_features) as (ids, rows):
        image_ids, features = [ids], [rows[np.arange(len(ids))]]
    for path in (dataset.holdout.path, *dataset.test.paths):
        shard = read_shard(path)
        image_ids.append(shard.image_ids)
        features.append(embed(model, shard.jpegs))
    votes = ratings.select(np.concatenate(image_ids)).votes
    return RatingPairs.of(_predicted_in_folds(model, np.concatenate(features), votes, seed, prior), votes)


def _predicted_in_folds(
    model: Nima, features: NDArray[np.float16], votes: NDArray[np.int32], seed: int, prior: bool
) -> NDArray[np.float32]:
    """Returns the probabilities `[n, 10]` of each photo, by a head that was trained without its fold."""
    start = {name: tensor.clone() for name, tensor in model.head.state_dict().items()}
    predicted = np.empty((len(votes), BUCKETS), np.float32)
    for held_out in np.array_split(np.random.default_rng(seed).permutation(len(votes)), FOLDS):
        taught = np.setdiff1d(np.arange(len(votes)), held_out)
        model.head.load_state_dict(start)
        if prior:
            model.start_with_prior(votes[taught].sum(axis=0))
        train_head(model, features[taught], votes[taught], head_plan(len(taught), seed))
        model.eval()
        with torch.inference_mode():
            logits = model.rate(torch.from_numpy(features[held_out]).float())
        predicted[held_out] = logits.softmax(dim=1).numpy()
    return predicted
