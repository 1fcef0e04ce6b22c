"""Asks before an output file replaces an existing file."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from requestor.errors import ConfigurationError


def ask_to_replace(path: Path, overwrite: bool) -> None:
    """Asks the user before an existing file is replaced, unless `overwrite` is True. Returns if `path` may be written.

    Raises `ConfigurationError` if stdin is no terminal, so that nobody can answer, and click's `Abort` if the answer is
    no.
    """
    if overwrite or not path.exists():
        return
    if not sys.stdin.isatty():
        raise ConfigurationError(f"{path} already exists. Choose another --output or pass --overwrite.")
    click.confirm(f"Replace {path}?", abort=True, err=True)
