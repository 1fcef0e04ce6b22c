"""`nima-golem ava`: imports data sets of rated photos, checks and splits the AVA data set, and draws a small one."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from requestor.errors import ConfigurationError, RequestorError

if TYPE_CHECKING:
    from nima.datasets import ImportReport

_SHOWN = 10  # bad photos and refused rows that are named on the screen; files in the data set name all of them


class Bounds(click.ParamType):  # type: ignore[type-arg]  # generic in click's newer releases only
    """Parses an option's value such as 1..5 as two numbers, the smaller first."""

    name = "MIN..MAX"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, float]:
        try:
            low, high = (float(part) for part in str(value).split(".."))
        except ValueError:
            low = high = math.nan
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            self.fail(f"{value!r} is no scale: give its lowest and its highest rating, such as 1..5.", param, ctx)
        return low, high


def _data_folder(context: click.Context, parameter: click.Parameter, value: Path) -> Path:
    """Takes a data set by its folder or by its AVA.txt, as all commands do."""
    from nima.ava import data_folder_of

    folder = data_folder_of(value)
    if not folder.is_dir():
        raise click.BadParameter(f"{value} is not a folder with AVA.txt and images/.")
    return folder


@click.group()
def ava() -> None:
    """Import rated photos, check and split a data set, or draw a small one.

    A data set is a folder in the layout of AVA, with AVA.txt and images/<id>.jpg.

    \b
    Examples:
        nima-golem ava import photos/ mine/ --xmp
        nima-golem ava tiny tiny-ava
        nima-golem ava check ava/
        nima-golem ava split ava/ random
    """


@ava.command("import", short_help="Make a data set of rated photos.")
@click.argument("source", type=click.Path(path_type=Path, exists=True))
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
@click.option("--xmp", is_flag=True, help="Read the ratings that the photos in SOURCE carry: in sidecars of either "
              "style, in XMP inside the photo, or in its EXIF.")  # fmt: skip
@click.option("--photos", type=click.Path(path_type=Path, exists=True, file_okay=False),
              help="Folder at which the paths of the photos begin. [default: that of SOURCE]")  # fmt: skip
@click.option("--scale", type=Bounds(), help="Scale of the column mean, or of stars that are not 1 to 5.")
@click.option("--rejected", type=click.Choice(["skip", "lowest"]), default="skip", show_default=True,
              help="Pass over photos that were rejected (-1 star), or count them as the lowest rating.")  # fmt: skip
@click.option("--copy", is_flag=True, help="Copy the photos. [default: hard links, or symbolic links to another disk]")
@click.option("--name", help="Name of the data set. [default: that of the source]")
@click.option("--raters", help="Whose ratings these are, for the model card. [default: as the source tells]")
@click.option("--licence", help="Licence of photos and ratings. [default: as the source tells]")
@click.option("--private/--public", default=None, help="Ask before others see these photos, or not. "
              "[default: public for the published data sets, private for all others]")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def import_(
    source: Path, out: Path, xmp: bool, photos: Path | None, scale: tuple[float, float] | None, rejected: str,
    copy: bool, name: str | None, raters: str | None, licence: str | None, private: bool | None, as_json: bool,
) -> None:  # fmt: skip
    """Make a data set in AVA's layout in the folder OUT, from the rated photos that SOURCE names.

    \b
    SOURCE is one of these:
        a CSV file whose first line is path,r1,…,r10 or path,c1,…,c5 (votes),
            path,mean or path,mean,std (with --scale), or path,stars
        a folder of photos that carry ratings (with --xmp)
        a folder with KonIQ-10k, SPAQ, AADB, EVA, PARA or TAD66K as published

    Rows with errors are left out, counted, and named with their line in OUT/refused.csv. The ids of the photos are in
    OUT/ids.csv; they stay the same if the import is repeated. docs/data.md tells where to get the data sets.

    \b
    Examples:
        nima-golem ava import photos/ mine/ --xmp
        nima-golem ava import ratings.csv mine/ --scale 1..5
        nima-golem ava import koniq10k/ koniq/
    """
    from nima.ava import Dataset
    from nima.datasets import Scale, find_source, import_dataset
    from requestor.terminal import progress_bar

    found = find_source(
        source, in_photos=xmp, photos=photos, scale=Scale(*scale) if scale else None,
        rejected_counts=rejected == "lowest",
    )  # fmt: skip
    about = Dataset(
        name or found.name, raters or found.raters, licence or found.licence,
        private=found.private if private is None else private,
    )  # fmt: skip
    with progress_bar("Importing") as progress:
        report = import_dataset(found, out, about, copy, lambda done: progress(done, None))
    if as_json:
        click.echo(json.dumps({"name": about.name, "out": str(out), **_import_json(report)}))
    else:
        _show_import(report, about.name, out)


def _import_json(report: ImportReport) -> dict[str, Any]:
    return {
        "photos": report.photos,
        "test_photos": report.test_photos,
        "kept": dict(report.kept),
        "refused": report.refused_by_kind(),
        "refused_rows": [{"kind": one.kind, "where": one.where, "reason": one.reason} for one in report.refused],
    }


def _show_import(report: ImportReport, name: str, out: Path) -> None:
    from nima.safe_io import one_line

    test = f", {report.test_photos:,} of them for testing" if report.test_photos else ""
    click.echo(f"{name}: {report.photos:,} photos in {out}{test}.")
    plurals = {"hard link": "hard links", "symbolic link": "symbolic links", "copy": "copies"}
    click.echo(f"Kept as: {', '.join(f'{plurals.get(way, way)} {count:,}' for way, count in report.kept.items())}.")
    if report.refused:
        kinds = ", ".join(f"{kind} {count:,}" for kind, count in report.refused_by_kind().items())
        click.echo(f"{len(report.refused):,} rows were left out ({kinds}):")
        for refusal in report.refused[:_SHOWN]:
            click.echo(f"  {one_line(str(refusal))}")
        if len(report.refused) > _SHOWN:
            click.echo(f"  and {len(report.refused) - _SHOWN:,} more, which {out / 'refused.csv'} names.")
    click.echo(f"Next: nima-golem ava check {out}")


@ava.command(short_help="Find missing and unreadable photos.")
@click.argument("folder", type=click.Path(path_type=Path, exists=True), callback=_data_folder)
@click.option(
    "--output", type=click.Path(path_type=Path), help="Write the clean ids to this file. [default: FOLDER/clean.txt]"
)
@click.option(
    "--threads",
    type=click.IntRange(1, 1024),
    help="Number of photos to decode at the same time. [default: number of cores]",
)
@click.pass_context
def check(context: click.Context, folder: Path, output: Path | None, threads: int | None) -> None:
    """Read AVA.txt in FOLDER and decode every photo of it in full.

    Print which photos are missing, truncated or unreadable and which of those are bad in every copy of AVA, and write
    the ids of the other photos to a list. The exit code is 1 if a photo is bad that is good in other copies of AVA.

    \b
    Examples:
        nima-golem ava check ava/
        nima-golem ava check ava/ --output clean.txt
    """
    from nima.ava import check_photos, read_ratings, write_image_ids
    from requestor.terminal import progress_bar

    ratings = read_ratings(folder)
    with progress_bar("Checking") as progress:
        report = check_photos(folder, ratings, threads, progress)
    output = output or folder / "clean.txt"
    write_image_ids(output, report.clean)
    click.echo(f"{len(ratings):,} photos in the list: {len(report.clean):,} clean, {len(report.missing):,} missing, "
               f"{len(report.unreadable):,} unreadable.")  # fmt: skip
    for image_id in report.missing[:_SHOWN]:
        click.echo(f"Missing: {image_id}")
    for reason in list(report.unreadable.values())[:_SHOWN]:
        click.echo(f"Unreadable: {reason}")
    if max(len(report.missing), len(report.unreadable)) > _SHOWN:
        click.echo("There are more. The list of clean ids leaves all of them out.")
    if report.known_bad:
        click.echo(f"Bad in every copy of AVA: {', '.join(map(str, report.known_bad))}.")
    click.echo(f"Clean ids: {output}")
    context.exit(1 if report.bad - set(report.known_bad) else 0)


@ava.command(short_help="Write the lists of ids for training and for testing.")
@click.argument("folder", type=click.Path(path_type=Path, exists=True), callback=_data_folder)
@click.argument("kind", type=click.Choice(["official", "idealo", "random"]))
@click.option("--ids", type=click.Path(path_type=Path),
              help="File of the published ids. [official: aesthetics_image_lists/generic_test.jpgl]")  # fmt: skip
@click.option("--seed", type=click.IntRange(0, 2**31), default=0, show_default=True, help="Seed of the random split.")
@click.option("--test-share", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=0.1,
              show_default=True, help="Share of test ids in the random split.")  # fmt: skip
@click.option(
    "--clean", type=click.Path(path_type=Path), help="Use only the ids in this file, which `ava check` wrote."
)
@click.option(
    "--output", type=click.Path(path_type=Path), help="Write the lists to this folder. [default: FOLDER/splits]"
)
def split(
    folder: Path, kind: str, ids: Path | None, seed: int, test_share: float, clean: Path | None, output: Path | None
) -> None:
    """Write train.txt and test.txt, the lists of ids for training and for testing, for the AVA data set in FOLDER.

    \b
        official  AVA's own 20,000 test ids
        idealo    the 25,551 test ids of idealo's models (--ids: ava_labels_test.json of their repository)
        random    a random share, which the seed decides

    The published lists are recognised by their hash. Every model and every evaluation records the hash of its list, and
    figures are only compared if the hashes are equal.

    \b
    Examples:
        nima-golem ava split ava/ official --ids generic_test.jpgl
        nima-golem ava split ava/ random --seed 1 --test-share 0.1 --clean ava/clean.txt
    """
    import numpy as np

    from nima.ava import random_split, read_image_ids, read_ratings, read_split, write_image_ids

    known = read_ratings(folder).image_ids
    if clean is not None:
        known = known[np.isin(known, read_image_ids(clean))]
    if kind == "random":
        chosen = random_split(known, seed, test_share)
    else:
        if kind == "official" and ids is None:
            ids = folder / "aesthetics_image_lists" / "generic_test.jpgl"
        if ids is None:
            raise ConfigurationError(
                "The idealo split needs a list of ids. Pass --ids with the file data/AVA/ava_labels_test.json from "
                "https://github.com/idealo/image-quality-assessment."
            )
        chosen = read_split(ids, expected=kind)
    train = known[~np.isin(known, chosen.image_ids)]
    output = output or folder / "splits"
    write_image_ids(output / "train.txt", train.tolist())
    # In full, also where a photo is missing: the hash is that of the published list.
    write_image_ids(output / "test.txt", chosen.image_ids.tolist())
    absent = len(chosen.image_ids) - int(np.isin(chosen.image_ids, known).sum())
    click.echo(f"Split {chosen}: {len(train):,} ids for training.")
    if absent:
        click.echo(f"{absent:,} of its test ids have no ratings in AVA.txt or are not clean.")
    click.echo(f"Lists: {output / 'train.txt'}, {output / 'test.txt'}")


@ava.command(short_help="Draw a small data set in AVA's layout.")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--images", type=click.IntRange(8, 100_000), default=600, show_default=True, help="Number of images.")
@click.option("--seed", type=click.IntRange(0, 2**31), default=0, show_default=True, help="Seed of everything random.")
def tiny(folder: Path, images: int, seed: int) -> None:
    """Draw scenes with the faults that photographers make, rate them, and write them to FOLDER in AVA's layout.

    The images are drawn and rated by a program. They serve to try this tool out, and teach nothing about people's
    taste. Faults lower the ratings; clashing colours and a tilted camera also divide the raters. Equal seeds give equal
    files.

    \b
    Examples:
        nima-golem ava tiny tiny-ava
        nima-golem ava tiny tiny-ava --images 100 --seed 1
    """
    from nima.tiny_ava import draw_tiny_ava
    from requestor.terminal import progress_bar

    if (folder / "AVA.txt").exists():
        raise ConfigurationError(f"{folder} already holds a data set. Choose another folder, or remove this one.")
    try:
        with progress_bar("Drawing") as progress:
            drawn = draw_tiny_ava(folder, images, seed, progress)
    except OSError as error:
        raise RequestorError(
            f"{folder} could not be written ({error.strerror or error}). Choose another folder."
        ) from error
    click.echo(f"{drawn.images} images in {folder}, {drawn.test_images} of them for testing")
    click.echo(f"ratings: {drawn.votes:.0f} votes an image")
    click.echo(f"constant prediction on the test images: SRCC 0, EMD r=1 {drawn.constant_emd:.4f}")
    click.echo(
        f"ceiling: SRCC {drawn.ceiling_srcc:.3f} of the mean and {drawn.ceiling_srcc_std:.3f} of the spread, which is "
        "what the noise of the raters leaves of them"
    )
    click.echo(f"Next: nima-golem train --ava {folder} --budget 2GLM")
