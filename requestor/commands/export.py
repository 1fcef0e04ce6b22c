"""`nima-golem export`: writes a model as one file for other programs."""

from __future__ import annotations

import json
from pathlib import Path

import click

SUFFIXES = {"onnx": ".onnx", "torchscript": ".pt"}


@click.command()
@click.argument("model", default="mobilenet_v1-ava")
@click.option("--format", "format_", type=click.Choice(list(SUFFIXES)), default="onnx", show_default=True,
              help="onnx for most programs, torchscript for C++.")  # fmt: skip
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Write the model to this file. [default: the model's name, in the working directory]")  # fmt: skip
@click.option("--overwrite", is_flag=True, help="Replace an existing file without asking.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object: the file, its accuracy, its inputs and outputs."
)
def export(model: str, format_: str, output: Path | None, overwrite: bool, as_json: bool) -> None:
    """Write MODEL, a name of `models list` or a model's file, as a graph from bytes to probabilities and score.

    The file is written only if its probabilities agree with PyTorch's within 1e-4. Its metadata describes the input:
    RGB bytes as a decoder gives them, neither scaled nor normalised, in batches of any size.

    \b
    Examples:
        nima-golem export
        nima-golem export demo/run/model.safetensors --output mine.onnx
        nima-golem export mobilenet_v1-ava --format torchscript
    """
    # Imported here, as `--help` should not wait for torch.
    from nima.model import checkpoint, export_model
    from requestor.terminal import ask_to_replace, field_lines, find_or_fetch_model, terminal_width

    path = find_or_fetch_model(model)
    if output is None:
        name = str(checkpoint.read_metadata(path).get("name", path.stem))
        # The name comes from somebody else: it must not lead to another folder.
        output = Path("".join(c if c.isalnum() or c in "-_." else "_" for c in name).lstrip(".") + SUFFIXES[format_])
    ask_to_replace(output, overwrite)
    done = export_model(path, output, format_)
    if as_json:
        click.echo(json.dumps({"path": str(done.path), "difference": done.difference} | done.metadata))
        return
    click.echo(f"{done.path}: probabilities within {done.difference:.0e} of PyTorch's.")
    click.echo("\n".join(field_lines(((name, str(value)) for name, value in done.metadata.items()), terminal_width())))
