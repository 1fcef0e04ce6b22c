"""Files that commands write where the user says: never over another one without asking."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from requestor.errors import ConfigurationError


def ask_to_replace(path: Path, overwrite: bool) -> None:
    """Returns if `path` may be written: there is none yet, `overwrite` is set, or the person at the terminal agrees.

    Raises `ConfigurationError` where nobody can be asked, click's `Abort` for a no.
    """
    if overwrite or not path.exists():
        return
    if not sys.stdin.isatty():
        raise ConfigurationError(f"{path} is there already; give another --output, or --overwrite.")
    click.confirm(f"Replace {path}?", abort=True, err=True)
