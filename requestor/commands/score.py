"""`nima-golem score`: scores photos on this machine."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

import click


@click.command()
@click.argument("photos", nargs=-1, type=click.Path())
@click.option("-r", "--recursive", is_flag=True, help="Search folders inside folders, too.")
@click.option(
    "-0", "--null", is_flag=True, help="Read paths from stdin that end with a zero byte, as `find -print0` writes them."
)
@click.option("--from-sheet", type=click.Path(path_type=Path, exists=True, dir_okay=False), metavar="FILE",
              help="Score the photos with stars on a contact sheet: FILE is the list that it saves.")  # fmt: skip
@click.option("--model", help="A model's file, or a name of `models list`. [default: mobilenet_v1-ava]")
@click.option("--second-model", metavar="MODEL",
              help="Score with this model, too, in columns of its own: a technical one, for example.")  # fmt: skip
@click.option("--format", "format_", type=click.Choice(["table", "json", "jsonl", "csv"]), default="table",
              show_default=True, help="table is for people, the others are for programs.")  # fmt: skip
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the rows to this file instead of stdout.",
)
@click.option("--top", type=click.IntRange(1), metavar="N", help="Print only the N photos with the highest scores.")
@click.option(
    "--min-score", type=click.FloatRange(1, 10), metavar="X", help="Print only photos with a score of X or more."
)
@click.option("--sort", type=click.Choice(["score", "spread", "path", "input"]),
              help="Order of the rows: highest score first, largest spread first, by path, or as in the input. "
              "[default: score for a table, otherwise input]")  # fmt: skip
@click.option("--group", is_flag=True, help="Group bursts, retakes and copies, and mark the best photo of each group.")
@click.option(
    "--best-of-group",
    is_flag=True,
    help="Do the same as --group, and print only the best photo of each group. Exposure brackets and panoramas stay "
    "whole.",
)
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Also write a contact sheet: a page with thumbnails, to sort and filter.")  # fmt: skip
@click.option("--copy-to", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
              help="Copy the photos of all rows to this folder. No file is replaced.")  # fmt: skip
@click.option("--link-to", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
              help="Do the same as --copy-to with symbolic links.")  # fmt: skip
@click.option("--xmp", is_flag=False, flag_value="sidecar", metavar="[embed]",
              help="Write the stars into XMP sidecars, or with embed into the photos (needs exiftool). Ratings in "
              "sidecars and in photos are kept.")  # fmt: skip
@click.option("--xmp-style", type=click.Choice(["darktable", "lightroom"]), default="darktable", show_default=True,
              help="Name of the sidecars: photo.jpg.xmp for darktable, photo.xmp for lightroom.")  # fmt: skip
@click.option("--overwrite-ratings", is_flag=True, help="With --xmp: replace existing ratings, too.")
@click.option("--reject-below", type=click.FloatRange(1, 10), metavar="X",
              help="With --xmp: mark photos with a score below X as rejected (rating -1).")  # fmt: skip
@click.option("--label", "labels", type=(str, click.FloatRange(1, 10)), multiple=True, metavar="COLOUR X",
              help="With --xmp: give this colour label to photos with a score of X or more; of several, the one with "
              "the highest X. Existing labels are kept.")  # fmt: skip
@click.option("--initial-rating", type=click.IntRange(1, 5), metavar="N",
              help="With --xmp: count this rating in a sidecar as none; darktable gives 1 to new photos.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Only print what would be copied, linked, rated and written.")
@click.option("--cache", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Keep the scores in this file (SQLite), so that no photo is scored again. [default: scores.sqlite "
              "in the cache folder]")  # fmt: skip
@click.option("--no-cache", is_flag=True, help="Keep no scores, and score every photo anew.")
@click.option("--device", default="auto", show_default=True,
              help="Device to compute on: auto, cpu, cuda or mps. cuda and mps are for torch.")  # fmt: skip
@click.option("--runtime", type=click.Choice(["auto", "onnx", "torch"]), default="auto", show_default=True,
              help="onnx takes half of torch's time on CPUs for the same scores; auto is onnx on CPUs.")  # fmt: skip
@click.option(
    "--batch-size", type=click.IntRange(1, 1024), default=16, show_default=True, help="Number of photos in a batch."
)
@click.option(
    "--threads",
    type=click.IntRange(1, 1024),
    help="Number of photos to decode at the same time. [default: number of cores]",
)
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors on stderr.")
@click.option("-v", "--verbose", is_flag=True, help="Print the model, each photo that fails, and the speed on stderr.")
@click.pass_context
def score(
    context: click.Context,
    photos: tuple[str, ...],
    recursive: bool,
    null: bool,
    from_sheet: Path | None,
    model: str | None,
    second_model: str | None,
    format_: Literal["table", "json", "jsonl", "csv"],
    output: Path | None,
    top: int | None,
    min_score: float | None,
    sort: Literal["score", "spread", "path", "input"] | None,
    group: bool,
    best_of_group: bool,
    html: Path | None,
    copy_to: Path | None,
    link_to: Path | None,
    xmp: str | None,
    xmp_style: Literal["darktable", "lightroom"],
    overwrite_ratings: bool,
    initial_rating: int | None,
    reject_below: float | None,
    labels: tuple[tuple[str, float], ...],
    dry_run: bool,
    cache: Path | None,
    no_cache: bool,
    device: str,
    runtime: Literal["auto", "onnx", "torch"],
    batch_size: int,
    threads: int | None,
    quiet: bool,
    verbose: bool,
) -> None:
    """Score PHOTOS, which are files, folders or patterns; - reads a list of paths from stdin, one on each line.

    A score is the mean rating from 1 to 10 that people would give. Each row also shows the spread of the ratings, the
    share of photos with a lower score, stars by that share, and the probability of each rating. The share is among
    AVA's photos, or among the test photos of a model that was trained here. The first use fetches the model.

    If a photo cannot be read, its row says why, and the exit code is 1. With --top or --min-score there is no such row.

    \b
    Examples:
        nima-golem score photo.jpg
        nima-golem score -r holiday/ --top 20 --copy-to best/
        nima-golem score -r holiday/ --xmp --dry-run
        nima-golem score -r holiday/ --html holiday.html
        nima-golem score --from-sheet marks.json --copy-to best/
        nima-golem score -r holiday/ --best-of-group --min-score 5 --link-to kept/
        nima-golem score 'holiday/**/IMG_*.jpg' --format csv --output scores.csv
        find . -name '*.jpg' -print0 | nima-golem score -0 - --format jsonl --min-score 5.5
    """
    if xmp not in (None, "sidecar", "embed"):  # a photo that stands behind the option
        photos, xmp = (*photos, str(xmp)), "sidecar"
    listed = null or "-" in photos
    if from_sheet is not None and (photos or listed or xmp):
        raise click.UsageError(
            "--from-sheet names the photos itself: leave PHOTOS and --xmp out. To write the stars of the sheet, use "
            "nima-golem taste FOLDER --from-sheet FILE --xmp."
        )
    if not photos and not listed and from_sheet is None:
        raise click.UsageError(
            "There is nothing to score. Pass photos, folders or patterns, or - to read a list of paths from stdin."
        )
    if html is not None and output is not None and html.absolute() == output.absolute():
        raise click.UsageError("--html and --output name the same file. Choose another file for one of them.")
    from requestor.scoring import Marking, ScoreRequest, run  # imported here, as `--help` should not wait for numpy

    request = ScoreRequest(
        photos=tuple(path for path in photos if path != "-"),
        recursive=recursive,
        path_list=sys.stdin.buffer if listed else None,
        separator=b"\0" if null else b"\n",
        from_sheet=from_sheet,
        model=model,
        second_model=second_model,
        format=format_,
        output=output,
        sort=sort,
        top=top,
        min_score=min_score,
        group=group,
        best_of_group=best_of_group,
        html=html,
        copy_to=copy_to,
        link_to=link_to,
        xmp="embed" if xmp == "embed" else xmp_style if xmp else None,
        overwrite_ratings=overwrite_ratings,
        initial_rating=initial_rating,
        marking=Marking(reject_below, tuple((least, colour) for colour, least in labels)),
        dry_run=dry_run,
        cache=cache,
        no_cache=no_cache,
        device=device,
        runtime=runtime,
        batch_size=batch_size,
        threads=threads,
        quiet=quiet,
        verbose=verbose,
    )
    context.exit(run(request))
