"""Prepares a run before any provider is hired: makes the shards, and the model from which all work starts."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nima.ava import Ratings
from nima.model import Nima, checkpoint, find_backbone, initial_model
from nima.safe_io import sha256_of
from nima.training import standardise_features
from nima.weights import fetch_weights, find_cached_source, find_published_weights
from nima.wire import Shard, default_plan, read_shard
from requestor.errors import RunFolderError, RunStopped
from requestor.records import RunFolder
from requestor.training import load_start, model_like
from requestor.training.data import Dataset, RatedPhotos, make_shards
from requestor.training.rounds import LEAST_HOLDOUT
from requestor.training.run.context import RunContext

STANDARDISED = 64  # number of photos that determine the scale of the features


def shard(context: RunContext, ratings: Ratings) -> Dataset:
    """Makes shards of the photos; if this was done before, reads their description.

    The pre-trained weights are fetched first: a run that cannot have them ends before it reads photos.

    Raises RunStopped if the run is stopped meanwhile, and the errors of `make_shards` and `fetch_weights`.
    """
    config, folder, progress = context.config, context.folder, context.progress
    store, home = folder.path / "store", folder.path / "holdout"
    if content := folder.read("dataset.json"):
        dataset = Dataset.from_json(content, store, home)
        if any(len(client.votes) != len(client.shards) for client in dataset.clients):
            raise RunFolderError(
                f"{folder.path} was made by an older version of this program, and cannot go on: choose another "
                "--run-dir."
            )
        return dataset
    progress.stage("Fetching pre-trained weights")
    if config.start is None:
        fetch_weights(find_backbone(config.backbone).weights)
    preparation = model_like(config.backbone, config.start).preparation
    progress.stage("Reading photos", len(ratings))

    def on_photo(done: int, total: int) -> None:
        if context.stopping.is_set():
            raise RunStopped("Stopped while reading photos; the same command starts again with that.")
        progress.advance_to(done)

    dataset = make_shards(
        RatedPhotos(config.ava, ratings, context.split.image_ids), config.workers, config.backbone, config.seed,
        store, home, on_photo, random_crops=default_plan(1, config.seed, config.blocks).augment,
        preparation=preparation,
    )  # fmt: skip
    folder.write("dataset.json", dataset.to_json())
    for problem in dataset.skipped:
        progress.note(f"left out: {problem}")
    progress.note(
        f"{dataset.train_images} photos to train on, {dataset.holdout.images} held out, "
        f"{sum(dataset.test.images)} to test on"
    )
    if config.strategy.rounds != 0 and dataset.holdout.images < LEAST_HOLDOUT:
        progress.note(
            f"{dataset.holdout.images} photos held out are too few to judge updates by: in rounds, only what is "
            f"computed again (--audit {config.audit:g}) is checked. {LEAST_HOLDOUT} are held out of "
            f"{10 * LEAST_HOLDOUT} photos to train on."
        )
    return dataset


def base_model(context: RunContext, dataset: Dataset, ratings: Ratings) -> tuple[str, Path]:
    """Returns SHA-256 and path of the model that is sent to providers: pre-trained, with standardised features.

    A run that goes on from a NIMA begins with its head, too, which is fitted to the standardised features.
    The model is made if it does not exist yet. It does not depend on the number of workers.
    """
    config, folder = context.config, context.folder
    if known := folder.read("base.json"):
        return known["sha256"], folder.stored(known["sha256"])
    context.progress.stage("Preparing the model")
    holdout = read_shard(dataset.holdout.path)
    if config.start is None:
        name = find_backbone(config.backbone).weights
        trained_on = ~np.isin(ratings.image_ids, np.concatenate([holdout.image_ids, context.split.image_ids]))
        prior = ratings.votes[trained_on].sum(axis=0)
        model = initial_model(config.backbone, fetch_weights(name), config.seed, prior=prior, multi_level=True)
        origin = {"name": name, **find_cached_source(find_published_weights(name)).as_json()}
    else:
        model, origin = load_start(config.start)
    photos = _first_photos(dataset, holdout, STANDARDISED)
    standardise_features(model, photos, keep_predictions=config.start is not None)
    base = store_model(folder, model)
    folder.write("base.json", {"sha256": base[0], "weights": origin})
    return base


def _first_photos(dataset: Dataset, holdout: Shard, count: int) -> list[bytes]:
    """Returns the first `count` photos of the hold-out, and then of the clients, as the shuffle put them in order."""
    jpegs = list(holdout.jpegs[:count])
    for client in dataset.clients:
        for path in client.paths:
            if len(jpegs) >= count:
                return jpegs
            jpegs += read_shard(path).jpegs[: count - len(jpegs)]
    return jpegs


def store_model(folder: RunFolder, model: Nima) -> tuple[str, Path]:
    """Writes a model to a content-addressed file for providers, and returns its SHA-256 and its path.

    The file has no metadata, so equal models have equal names.
    """
    draft = folder.path / "store" / "draft.safetensors"
    checkpoint.save(draft, model, {})
    sha256 = sha256_of(draft)
    draft.replace(folder.stored(sha256))
    return sha256, folder.stored(sha256)
