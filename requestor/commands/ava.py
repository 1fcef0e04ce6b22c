"""`nima-golem ava`: check the AVA data set and split it."""

from __future__ import annotations

from pathlib import Path

import click

from requestor.errors import ConfigurationError

_SHOWN = 10  # bad photos that are named on the screen; the list of clean ids leaves all of them out


@click.group()
def ava() -> None:
    """Check the AVA data set and split it. AVA is a folder with AVA.txt and images/<id>.jpg.

    \b
    Examples:
        nima-golem ava check ava/
        nima-golem ava split ava/ random
    """


@ava.command(short_help="Find missing and unreadable photos.")
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
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
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
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
