"""`nima-golem score`: score photos on this machine."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command(short_help="Score photos with a trained model; local, off-line.")
@click.argument("photos", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--model", help="A model's file, or a name of `models list`. [default: mobilenet_v1-ava]")
@click.option("--format", "format_", type=click.Choice(["table", "jsonl"]), default="table", show_default=True,
              help="Lines for people, or one JSON object a photo.")  # fmt: skip
@click.option("-r", "--recursive", is_flag=True, help="Also the folders inside folders.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or mps.")
@click.option("--batch-size", type=click.IntRange(1, 1024), default=16, show_default=True, help="Photos at a time.")
@click.option("--threads", type=click.IntRange(1, 1024), help="Photos decoded at a time. [default: all cores]")
@click.pass_context
def score(
    context: click.Context,
    photos: tuple[Path, ...],
    model: str | None,
    format_: str,
    recursive: bool,
    device: str,
    batch_size: int,
    threads: int | None,
) -> None:
    """Score PHOTOS, which are files or folders: the mean rating from 1 to 10 that people would give.

    Beside it: the spread of their ratings, the share of AVA's photos that score lower, and the probability of each
    rating. The first use fetches the model. A photo that cannot be read gets a line that says why, and the exit code
    is 1 in the end.

    \b
        nima-golem score photo.jpg
        nima-golem score holiday/ --format jsonl > scores.jsonl
    """
    # Imported here, as `--help` should not wait for torch.
    from nima.scoring import DEFAULT_MODEL, Scorer
    from requestor import score_table
    from requestor.model_files import model_file
    from requestor.photo_files import photo_files

    scorer = Scorer(model_file(model or DEFAULT_MODEL), device=device, batch_size=batch_size, threads=threads)
    found, failed = False, False
    if format_ == "table":
        click.echo(score_table.HEADER)
    for scored in scorer.score(photo_files(photos, recursive)):
        found, failed = True, failed or scored.error is not None
        click.echo(json.dumps(scored.as_row()) if format_ == "jsonl" else score_table.line(scored))
    if not found:
        click.echo("There is no photo there; with -r, folders inside folders are searched too.", err=True)
    context.exit(0 if found and not failed else 1)
