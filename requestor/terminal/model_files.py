"""Finds models by name or path, and fetches missing ones with a progress bar."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import click

from nima.weights import PUBLISHED_WEIGHTS, cached_weights_path, find_published_weights
from requestor.terminal.bar import progress_bar


def find_or_fetch_model(name: str) -> Path:
    """Returns the file of a model; fetches published weights if they are not in the cache.

    Raises `WeightsError` if there is no such model, or if it cannot be fetched.

    Args:
        name: path of the file, or a name in the table of weights.
    """
    from nima.weights import find_model

    if name in PUBLISHED_WEIGHTS and cached_weights_path(find_published_weights(name)) is None:
        return fetch_weights_with_bar(name)
    return find_model(name)


def fetch_weights_with_bar(name: str) -> Path:
    """Fetches the weights `name` into the cache. Raises `WeightsError` if no source has them."""
    from nima.weights import fetch_weights

    click.echo(f"Fetching the weights {name} (once) …", err=True)
    with progress_bar(name) as advance:
        return fetch_weights(name, lambda source, done, total: advance(done, total))


def convert_for_scoring(model: Path) -> None:
    """Converts a checkpoint for ONNX Runtime, so that its first score need not wait for that; says so on stderr.

    If it cannot be converted, nothing happens: PyTorch will run it.

    Raises `CheckpointError` if the file is no model, and `FileError` if it cannot be read.
    """
    from nima.scoring import RuntimeMissing, convert_model

    announce_conversion(model)
    with suppress(RuntimeMissing):
        convert_model(model)


def announce_conversion(model: Path) -> None:
    """Prints on stderr that a checkpoint is converted for ONNX Runtime, unless this has been done."""
    from nima.scoring import is_converted

    if not is_converted(model):
        click.echo("Converting the model for ONNX Runtime (once) …", err=True)
