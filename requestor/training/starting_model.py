"""Loads the model that a run starts from: a backbone of ImageNet with a new head, or a NIMA trained before."""

from __future__ import annotations

from typing import Any

from nima.model import Nima, checkpoint, initial_model
from nima.safe_io import sha256_of
from nima.weights import PUBLISHED_WEIGHTS, find_cached_source, find_model, find_published_weights


def load_start(start: str) -> tuple[Nima, dict[str, Any]]:
    """Loads the NIMA that a run goes on from; fetches it if it is published and not in the cache.

    Args:
        start: path of a model's file, or a name in the table of weights.

    Returns:
        The model, in evaluation mode, and its origin as JSON values: `name`, `from`, `sha256`, `licence`.

    Raises `WeightsError` if there is no such model, and `CheckpointError` if the file is none.
    """
    path = find_model(start)
    model, metadata = checkpoint.load(path)
    if start in PUBLISHED_WEIGHTS:
        return model, {"name": start, **find_cached_source(find_published_weights(start)).as_json()}
    origin = {"name": str(metadata.get("name", path.stem)), "from": path.name, "sha256": sha256_of(path)}
    return model, {**origin, "licence": str(metadata.get("licence", "unknown"))}


def model_like(backbone: str, start: str | None) -> Nima:
    """Returns a model with the tensors and the preparation of the one that a run starts from, for its sizes.

    Args:
        backbone: name of the backbone.
        start: the NIMA that the run goes on from, as for `load_start`, whose errors are raised; None for a backbone of
            ImageNet, whose weights are not needed here.
    """
    return initial_model(backbone, None, 0, multi_level=True) if start is None else load_start(start)[0]
