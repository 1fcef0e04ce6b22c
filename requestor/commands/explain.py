"""`nima-golem explain`: shows which parts of a photo raise its score, and how crops and exposures would change it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import BytesIO
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import click

from requestor.errors import ConfigurationError
from requestor.terminal import Column, ask_to_replace, table_lines, terminal_width

if TYPE_CHECKING:
    from PIL import Image

    from nima.explain import Explanation

_COLUMNS = (Column("change"), Column("score", "right"), Column("margin", "right"), Column("", if_narrow="fold"))
_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}


@click.command()
@click.argument("photo", type=click.Path(path_type=Path))
@click.option("--model", help="A model's file, or a name of `models list`. [default: mobilenet_v1-ava]")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Write the picture to this file, .png or .jpg. [default: PHOTO-explained.png here; no "
                   "picture with --json]")  # fmt: skip
@click.option("--overwrite", is_flag=True, help="Replace an existing picture without asking.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--device", default="auto", show_default=True, help="Device to compute on: auto, cpu, cuda or mps.")
def explain(photo: Path, model: str | None, output: Path | None, overwrite: bool, as_json: bool, device: str) -> None:
    """Draw on a copy of PHOTO which parts raise its score, and print how small changes would change the score.

    Each part is blurred, and each crop, exposure and rotation is tried, on several copies that look the same. The
    command reports the mean difference in score and its margin. This is the model's opinion and not advice: a
    difference within the margin means nothing, and a larger one may still not match your taste.

    \b
    Examples:
        nima-golem explain photo.jpg
        nima-golem explain photo.jpg --output why.jpg
        nima-golem explain photo.jpg --json
    """
    if output is None and not as_json:
        output = Path(f"{photo.stem}-explained.png")
    if output is not None:
        _check(output, photo, overwrite)

    # Imported here, as `--help` should not wait for torch.
    from nima.explain import explain_score
    from nima.photos import open_photo
    from nima.scoring import DEFAULT_MODEL, Scorer
    from requestor.terminal import find_or_fetch_model, progress_bar

    scorer = Scorer(find_or_fetch_model(model or DEFAULT_MODEL), device=device)
    with progress_bar("explaining") as progress:
        explanation = explain_score(scorer, photo, progress)
    if output is not None:
        from nima.explain import draw_explanation

        _save(draw_explanation(explanation, open_photo(photo, long_side=2400)), output)
    if as_json:
        click.echo(json.dumps(explanation.as_row()))
    else:
        for line in _lines(explanation):
            click.echo(line)
        click.echo(f"The picture is in {output}.")


def _check(output: Path, photo: Path, overwrite: bool) -> None:
    """Asks before a picture is replaced. Raises `ConfigurationError` if `output` cannot be the picture's file."""
    if output.suffix.lower() not in _FORMATS:
        raise ConfigurationError(
            f"--output {output} is not the name of a picture. Choose a name that ends in .png or .jpg."
        )
    if output.exists() and photo.exists() and output.samefile(photo):
        raise ConfigurationError(f"--output {output} is the photo itself. Choose another --output.")
    ask_to_replace(output, overwrite)


def _save(picture: Image.Image, output: Path) -> None:
    from nima.safe_io import write_atomically

    content = BytesIO()
    picture.save(content, _FORMATS[output.suffix.lower()], quality=92)
    try:
        write_atomically(output, content.getvalue())
    except OSError as error:
        raise ConfigurationError(
            f"--output {output} could not be written ({error.strerror}). Choose another --output."
        ) from error


def _lines(explanation: Explanation) -> Iterator[str]:
    score = explanation.score
    above = f"above {score.percentile:.0f}% of the photos in {score.population}"
    yield f"The opinion of {score.model}: {score.aesthetic_score:.2f}, {above}."
    yield f"Copies that look the same get {min(explanation.copies):.2f} to {max(explanation.copies):.2f}."
    rows: list[list[str] | str] = []
    for kind, effects in groupby(explanation.effects, key=lambda effect: effect.kind):
        rows.append(kind)
        for effect in effects:
            verdict = "" if effect.certain else "no more than noise"
            rows.append([f"  {effect.name}", f"{effect.difference:+.2f}", f"± {effect.margin:.2f}", verdict])
    yield ""
    yield from table_lines(_COLUMNS, rows, terminal_width())
    yield ""
