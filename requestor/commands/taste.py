"""`nima-golem taste`: trains a model of one's own taste on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("-r", "--recursive", is_flag=True, help="Search folders inside the folder, too.")
@click.option("--start", metavar="MODEL",
              help="Model to start from: a file, or a name of `models list`. [default: mobilenet_v1-ava]")  # fmt: skip
@click.option("--initial-rating", type=click.IntRange(1, 5), metavar="N",
              help="Count this rating in a sidecar as none; darktable gives 1 to new photos.")  # fmt: skip
@click.option("--next", "proposals", type=click.IntRange(1, 1000), metavar="N",
              help="Propose N unrated photos whose stars would teach most, as a contact sheet.")  # fmt: skip
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), default=Path("taste.html"), show_default=True,
              metavar="FILE", help="With --next: the file of the contact sheet.")  # fmt: skip
@click.option("--from-sheet", "marks", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
              metavar="LIST", help="Take the stars of a list that a contact sheet has saved; - reads it from stdin. "
              "They are kept in your folder for data, not in the photos.")  # fmt: skip
@click.option("--xmp", is_flag=False, flag_value="darktable", type=click.Choice(["darktable", "lightroom", "embed"]),
              help="With --from-sheet: write the stars into sidecars of this style, or into the photos (embed; needs "
              "exiftool), as `score --xmp` does. Without a value: darktable.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--device", default="auto", show_default=True,
              help="Device to compute on: auto, cpu, cuda or mps. cuda and mps are for torch.")  # fmt: skip
@click.option("--runtime", type=click.Choice(["auto", "onnx", "torch"]), default="auto", show_default=True,
              help="Runtime of the network, as for `score`.")  # fmt: skip
@click.option(
    "--threads",
    type=click.IntRange(1, 1024),
    help="Number of photos to decode at the same time. [default: number of cores]",
)
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors on stderr.")
@click.pass_context
def taste(
    context: click.Context,
    folder: Path,
    recursive: bool,
    start: str | None,
    initial_rating: int | None,
    proposals: int | None,
    html: Path,
    marks: Path | None,
    xmp: Literal["darktable", "lightroom", "embed"] | None,
    as_json: bool,
    device: str,
    runtime: Literal["auto", "onnx", "torch"],
    threads: int | None,
    quiet: bool,
) -> None:
    """Learn your taste from the stars that you gave to the photos in FOLDER, so that `score --model taste` ranks as
    you would.

    Stars are read from XMP sidecars of either style and from the photos themselves; a rejected photo counts as one with
    one star. The model starts from the default model, and differs from it only as far as that predicts stars of photos
    that were left out. Photos are not changed, and nothing leaves this machine.

    What the network sees in a photo is kept in the cache of scores: after Ctrl-C, the same command goes on from there.

    \b
    Examples:
        nima-golem taste -r photos/
        nima-golem taste -r photos/ --next 20
        nima-golem taste -r photos/ --from-sheet marks.json
        nima-golem score -r holiday/ --model taste --top 20
    """
    if xmp is not None and marks is None:
        raise click.UsageError("--xmp writes the stars of a contact sheet: name its list with --from-sheet.")
    from requestor.taste import TasteRequest, run  # imported here, as `--help` should not wait for numpy

    request = TasteRequest(
        folder=folder,
        recursive=recursive,
        start=start,
        initial_rating=initial_rating,
        proposals=proposals,
        html=html,
        marks=marks,
        xmp=xmp,
        as_json=as_json,
        device=device,
        runtime=runtime,
        threads=threads,
        quiet=quiet,
    )
    context.exit(run(request))
