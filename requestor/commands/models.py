"""`nima-golem models`: lists, describes, fetches and imports published weights."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from requestor.terminal import Column, field_lines, table_lines, terminal_width

if TYPE_CHECKING:
    from nima.weights import PublishedWeights

_COLUMNS = (Column("model"), Column("file", "right"), Column("licence"), Column("description", if_narrow="fold"))


@click.group()
def models() -> None:
    """List, fetch and import published weights.

    They are kept in ~/.cache/nima-golem (below XDG_CACHE_HOME, if set), or in the folder that
    NIMA_GOLEM_CACHE names.

    \b
    Examples:
        nima-golem models list
        nima-golem models pull mobilenet_v1-ava
    """


@models.command("list", short_help="List the known weights.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on each line.")
def list_(as_json: bool) -> None:
    """List the known weights, and show whether they are on this machine; last, the model of your own taste, if any.

    \b
    Examples:
        nima-golem models list
        nima-golem models list --json
    """
    from nima.weights import PUBLISHED_WEIGHTS, cached_weights_path, own_models

    if as_json:
        for weights in PUBLISHED_WEIGHTS.values():
            click.echo(json.dumps(_facts(weights)))
        for name, path in own_models().items():
            click.echo(json.dumps(_own_facts(name, path)))
        return
    rows = []
    for weights in PUBLISHED_WEIGHTS.values():
        file = "here" if cached_weights_path(weights) else f"{weights.sources[0].bytes / 1e6:.0f} MB"
        rows.append([weights.name, file, weights.licence, weights.description])
    for name, path in own_models().items():
        facts = _own_facts(name, path)
        rows.append([name, "here", facts["licence"], facts["description"]])
    click.echo("\n".join(table_lines(_COLUMNS, rows, terminal_width())))


@models.command(short_help="Show what is known about a model.")
@click.argument("model")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def info(model: str, as_json: bool) -> None:
    """Show what is known about MODEL, a name of `models list` or a model's file. For a file, show the model card.

    \b
    Examples:
        nima-golem models info mobilenet_v1-ava
        nima-golem models info model.safetensors --json
    """
    from nima.weights import PUBLISHED_WEIGHTS

    if model in PUBLISHED_WEIGHTS:
        weights = PUBLISHED_WEIGHTS[model]
        text = json.dumps(_facts(weights)) if as_json else "\n".join(field_lines(_fields(weights), terminal_width()))
        click.echo(text)
        return
    from nima.model import checkpoint, model_card
    from nima.weights import find_model

    metadata = checkpoint.read_metadata(find_model(model))
    click.echo(json.dumps(metadata) if as_json else model_card(metadata), nl=as_json)


@models.command(short_help="Fetch weights into the cache.")
@click.argument("name")
def pull(name: str) -> None:
    """Fetch the weights NAME from the first source that answers, check the hash, and convert them to safetensors.
    A model is converted for ONNX Runtime, too, so that its first score need not wait.

    \b
    Examples:
        nima-golem models pull mobilenet_v1-ava
    """
    from nima.weights import cached_weights_path, find_published_weights
    from requestor.terminal import fetch_weights_with_bar

    path = cached_weights_path(find_published_weights(name)) or fetch_weights_with_bar(name)
    _convert_if_model(path)
    click.echo(path)


@models.command("import", short_help="Import weights from a file on this machine.")
@click.argument("name")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--overwrite", is_flag=True, help="Replace a model of your own that is called NAME.")
def import_(name: str, file: Path, overwrite: bool) -> None:
    """Import the model or weights NAME from FILE.

    If `models list` shows NAME, FILE must be the file of one of its sources: this is for a machine without
    internet. Under any other NAME, FILE becomes a model of your own. It may be a NIMA model of pyiqa (VGG16),
    of Neural-IMage-Assessment (VGG16), of nima.pytorch (ResNet), or of Keras on MobileNet v1: idealo's
    technical model, for example.

    \b
    Examples:
        nima-golem models import mobilenet_v1-ava weights_mobilenet_aesthetic_0.07.hdf5
        nima-golem models import technical weights_mobilenet_technical_0.11.hdf5
    """
    from nima.weights import PUBLISHED_WEIGHTS, import_model, import_weights

    path = import_weights(name, file) if name in PUBLISHED_WEIGHTS else import_model(name, file, overwrite=overwrite)
    _convert_if_model(path)
    click.echo(path)


def _convert_if_model(path: Path) -> None:
    """Converts a model for scoring; does nothing for weights to start a training from, which have no head."""
    from nima.model import CheckpointError, read_header
    from requestor.terminal import convert_for_scoring

    try:
        read_header(path)
    except CheckpointError:
        return
    convert_for_scoring(path)


def _fields(weights: PublishedWeights) -> Iterator[tuple[str, str]]:
    from nima.weights import cached_weights_path

    yield "model", weights.name
    yield "purpose", weights.description
    if weights.metrics:
        yield "metrics", ", ".join(f"{name} {value:g}" for name, value in weights.metrics.items())
    for number, source in enumerate(weights.sources, start=1):
        yield f"source {number}", str(source)
        rest = "" if len(source.sha256) == 64 else "…"
        yield "", f"{source.bytes / 1e6:.1f} MB, {source.licence}, sha256 {source.sha256}{rest}"
    yield "file", str(cached_weights_path(weights) or "not fetched yet")


def _own_facts(name: str, path: Path) -> dict[str, Any]:
    """Returns the same facts of a model of the user's own."""
    from nima.model import CheckpointError, checkpoint

    try:
        metadata = checkpoint.read_metadata(path)
    except CheckpointError:
        metadata = {}
    return {
        "name": name,
        "description": f"the model of your taste, learnt from the stars of {metadata.get('train_images', 'no')} photos",
        "licence": str(metadata.get("licence", "")),
        "metrics": {},
        "sources": [],
        "file": str(path),
    }


def _facts(weights: PublishedWeights) -> dict[str, Any]:
    from nima.weights import cached_weights_path

    path = cached_weights_path(weights)
    return {
        "name": weights.name,
        "description": weights.description,
        "licence": weights.licence,
        "metrics": weights.metrics,
        "sources": [source.as_json() for source in weights.sources],
        "file": str(path) if path else None,
    }
