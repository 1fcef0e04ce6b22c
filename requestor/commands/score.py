"""`nima-golem score`: scores photos on this machine."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from requestor.errors import ConfigurationError

if TYPE_CHECKING:
    from nima.scoring import Score


@click.command()
@click.argument("photos", nargs=-1, type=click.Path())
@click.option("-r", "--recursive", is_flag=True, help="Search folders inside folders, too.")
@click.option(
    "--stdin", is_flag=True, help="Also read paths from stdin, one on each line. The argument - does the same."
)
@click.option("-0", "--null", is_flag=True, help="Paths on stdin end with a zero byte, as `find -print0` writes them.")
@click.option("--model", help="A model's file, or a name of `models list`. [default: mobilenet_v1-ava]")
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
    "--best-of-group", is_flag=True, help="Do the same as --group, and print only the best photo of each group."
)
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Also write a contact sheet: a page with thumbnails, to sort and filter.")  # fmt: skip
@click.option("--copy-to", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
              help="Copy the photos of all rows to this folder. No file is replaced.")  # fmt: skip
@click.option("--link-to", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
              help="Do the same as --copy-to with symbolic links.")  # fmt: skip
@click.option("--xmp", is_flag=True, help="Write the stars into XMP sidecars. Existing ratings are kept.")
@click.option("--xmp-style", type=click.Choice(["darktable", "lightroom"]), default="darktable", show_default=True,
              help="Name of the sidecars: photo.jpg.xmp for darktable, photo.xmp for lightroom.")  # fmt: skip
@click.option("--overwrite-ratings", is_flag=True, help="With --xmp: replace existing ratings, too.")
@click.option("--dry-run", is_flag=True, help="Only print what would be copied, linked, rated and written.")
@click.option("--cache", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Keep the scores in this file (SQLite), so that no photo is scored again.")  # fmt: skip
@click.option("--device", default="auto", show_default=True, help="Device to compute on: auto, cpu, cuda or mps.")
@click.option("--runtime", type=click.Choice(["torch", "onnx"]), default="torch", show_default=True,
              help="onnx takes half the time on CPUs for the same scores (needs nima-golem[export]).")  # fmt: skip
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
    stdin: bool,
    null: bool,
    model: str | None,
    format_: str,
    output: Path | None,
    top: int | None,
    min_score: float | None,
    sort: str | None,
    group: bool,
    best_of_group: bool,
    html: Path | None,
    copy_to: Path | None,
    link_to: Path | None,
    xmp: bool,
    xmp_style: str,
    overwrite_ratings: bool,
    dry_run: bool,
    cache: Path | None,
    device: str,
    runtime: str,
    batch_size: int,
    threads: int | None,
    quiet: bool,
    verbose: bool,
) -> None:
    """Score PHOTOS, which are files, folders or patterns.

    A score is the mean rating from 1 to 10 that people would give. Each row also shows the spread of the ratings, the
    share of AVA's photos with a lower score, stars by that share, and the probability of each rating. The first use
    fetches the model.

    If a photo cannot be read, its row says why, and the exit code is 1. With --top or --min-score there is no such row.

    \b
    Examples:
        nima-golem score photo.jpg
        nima-golem score -r holiday/ --top 20 --copy-to best/
        nima-golem score -r holiday/ --xmp --dry-run
        nima-golem score -r holiday/ --html holiday.html
        nima-golem score -r holiday/ --best-of-group --min-score 5 --link-to kept/
        nima-golem score 'holiday/**/IMG_*.jpg' --format csv --output scores.csv
        find . -name '*.jpg' -print0 | nima-golem score -0 - --format jsonl --min-score 5.5
    """
    # Imported here, as `--help` should not wait for torch.
    from nima.safe_io import printable
    from nima.scoring import DEFAULT_MODEL, ScoreCache, Scorer, with_groups
    from requestor.scoring import (
        PhotoActions,
        Selection,
        as_csv,
        as_json,
        as_json_lines,
        as_table,
        check_replaceable,
        contact_sheet,
        listed_paths,
        photo_files,
    )
    from requestor.terminal import model_file, tell_of_conversion, terminal_width

    listed = stdin or null or "-" in photos
    if not photos and not listed:
        raise click.UsageError(
            "There is nothing to score. Pass photos, folders or patterns, or --stdin for a list of paths."
        )
    if html is not None and output is not None and html.absolute() == output.absolute():
        raise click.UsageError("--html and --output name the same file. Choose another file for one of them.")

    def inputs() -> Iterator[str]:
        yield from (path for path in photos if path != "-")
        if listed:
            yield from listed_paths(sys.stdin.buffer, b"\0" if null else b"\n")

    def note(text: str) -> None:
        if not quiet:
            click.echo(text, err=True)

    order = sort or ("score" if format_ == "table" else "input")
    selection = Selection(order, top, min_score, best_of_group)  # type: ignore[arg-type]  # click has checked it
    grouped = group or best_of_group
    model_path = model_file(model or DEFAULT_MODEL)
    if runtime == "onnx" and not quiet:
        tell_of_conversion(model_path)
    scorer = Scorer(
        model_path,
        device=device,
        batch_size=batch_size,
        threads=threads,
        cache=None if cache is None else ScoreCache(cache),
        appearance=grouped,
        thumbnails=html is not None and not dry_run,
        runtime=runtime,  # type: ignore[arg-type]  # click has checked it
    )
    if verbose:
        note(f"{scorer.model} on {scorer.device}")
    actions = PhotoActions(
        note=lambda text: click.echo(text, err=True),
        copy_to=copy_to,
        link_to=link_to,
        xmp=xmp_style if xmp else None,  # type: ignore[arg-type]  # click has checked it
        overwrite_ratings=overwrite_ratings,
        dry_run=dry_run,
    )
    started = time.monotonic()
    done = failed = 0

    def counted(scores: Iterable[Score]) -> Iterator[Score]:
        nonlocal done, failed
        for scored in scores:
            done += 1
            if scored.error is not None:
                failed += 1
                if verbose:
                    note(printable(scored.error))
            yield scored

    if html is not None and dry_run:
        check_replaceable(html)
        click.echo(f"would write {printable(str(html))}", err=True)
    with ExitStack() as opened:
        sheet = opened.enter_context(contact_sheet(html)) if html is not None and not dry_run else None
        file = opened.enter_context(_destination(output))
        scores = counted(scorer.score(photo_files(inputs(), recursive)))
        if sheet is not None:
            scores = sheet.thumbnails_kept(scores)
        streams = format_ != "table" and order == "input" and top is None and not grouped
        # Rows that are printed one by one on the terminal show the progress by themselves.
        if sys.stderr.isatty() and not quiet and not (streams and file.isatty()):
            from requestor.terminal import with_progress

            count = None if listed else lambda: sum(1 for _ in photo_files(inputs(), recursive))
            scores = with_progress(scores, count)
        if grouped:
            scores = iter(with_groups(scores))
        chosen = actions.on(selection.of(scores))
        if sheet is not None:
            chosen = sheet.written(chosen)
        if format_ == "table":
            # A list, so that the progress bar has left the terminal before the table is printed.
            text = as_table(list(chosen), terminal_width(file), grouped)
        else:
            text = {"json": as_json, "jsonl": as_json_lines, "csv": as_csv}[format_](chosen, grouped)
        for line in text:
            file.write(line.encode("utf-8", "surrogateescape"))  # a path comes out as the bytes that it is
            file.flush()
    if verbose:
        seconds = time.monotonic() - started
        note(f"{done} photos in {seconds:.1f} s ({done / seconds:.1f} per second)")
    if failed:
        note(f"{failed} of {done} photos could not be read.")
    if done and sheet is not None and not sheet.photos:
        note(f"No photo is left for the contact sheet: {printable(str(html))} was not written.")
    if not done:
        click.echo("No photo was found. Pass -r to search folders inside folders, too.", err=True)
    context.exit(0 if done and not failed and not actions.failures else 1)


def _destination(output: Path | None) -> AbstractContextManager[BinaryIO]:
    """Opens the file for the rows. Raises `ConfigurationError` if it is a photo's name or cannot be written."""
    from nima.photos import SUFFIXES

    if output is None:
        return nullcontext(sys.stdout.buffer)
    if output.suffix.lower() in SUFFIXES:
        raise ConfigurationError(
            f"--output {output} has the name of a photo and might replace one. Choose another name."
        )
    try:
        return output.open("wb")
    except OSError as error:
        raise ConfigurationError(
            f"--output {output} cannot be written ({error.strerror}). Choose another --output."
        ) from error
