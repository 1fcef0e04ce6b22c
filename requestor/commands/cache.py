"""`nima-golem cache`: lists and clears the files that this program keeps, and can fetch or make again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import click

from nima.safe_io import cache_folder, config_folder, data_folder
from requestor.errors import RequestorError
from requestor.terminal import Column, field_lines, table_lines, terminal_width

# part of the cache → the pattern of its files or its folder, and what it holds
PARTS = {
    "weights": ("weights", "published weights, fetched"),
    "onnx": ("onnx", "models, converted for ONNX Runtime"),
    "scores": ("scores.sqlite*", "scores of photos, and their thumbnails"),
    "npm": ("npm", "the programs of the devnet's chain, fetched"),
    "images": ("images", "provider images that were built"),
    "wheels": ("wheels", "packages for provider images, fetched"),
    "kernel": ("kernel", "a kernel for virtual machines, fetched"),
}
_COLUMNS = (Column("part"), Column("MB", "right"), Column("holds", if_narrow="fold"))


@click.group()
def cache() -> None:
    """List and clear the files that this program keeps on this machine, and can fetch or make again.

    Models of your own, devnets' logs, banned providers and settings are no part of the cache.

    \b
    Examples:
        nima-golem cache list
        nima-golem cache clear
    """


@cache.command("list", short_help="List the parts of the cache, with their sizes.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def list_(as_json: bool) -> None:
    """List the parts of the cache with their sizes, and the folders that this program uses.

    \b
    Examples:
        nima-golem cache list
    """
    folders = {"cache": cache_folder(), "data": data_folder(), "settings": config_folder()}
    sizes = {part: _size(part) for part in PARTS}
    if as_json:
        click.echo(json.dumps({"folders": {what: str(path) for what, path in folders.items()}, "bytes": sizes}))
        return
    rows = [[part, f"{sizes[part] / 1e6:,.1f}", holds] for part, (_, holds) in PARTS.items()]
    rows.append(["all", f"{sum(sizes.values()) / 1e6:,.1f}", ""])
    click.echo("\n".join(table_lines(_COLUMNS, rows, terminal_width())))
    click.echo()
    click.echo("\n".join(field_lines([(what, str(path)) for what, path in folders.items()], terminal_width())))


@cache.command(short_help="Remove the files of the cache.")
@click.argument("parts", nargs=-1, type=click.Choice(list(PARTS)))
@click.option("--yes", is_flag=True, help="Do not ask first.")
def clear(parts: tuple[str, ...], yes: bool) -> None:
    """Remove the files of PARTS of the cache, or of all parts, after asking. Other files in the folder stay.

    \b
    Examples:
        nima-golem cache clear
        nima-golem cache clear scores onnx --yes
    """
    chosen = parts or tuple(PARTS)
    size = sum(map(_size, chosen))
    if not any(_paths(part) for part in chosen):
        click.echo(f"There is nothing of {', '.join(chosen)} in {cache_folder()}.")
        return
    if not yes:
        click.confirm(f"Remove {', '.join(chosen)} ({size / 1e6:,.1f} MB) from {cache_folder()}?", abort=True, err=True)
    for path in [path for part in chosen for path in _paths(part)]:
        try:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise RequestorError(f"{path} could not be removed ({error.strerror}). Remove it by hand.") from error
    click.echo(f"{size / 1e6:,.1f} MB are free again.")


def _paths(part: str) -> list[Path]:
    return sorted(cache_folder().glob(PARTS[part][0]))


def _size(part: str) -> int:
    """Returns the size of a part's files in bytes; a symbolic link counts itself alone."""
    files = [below for path in _paths(part) for below in (path, *path.rglob("*"))]
    return sum(file.lstat().st_size for file in files if file.is_symlink() or file.is_file())
