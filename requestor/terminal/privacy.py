"""Asks the owner of private photos before other people see them."""

from __future__ import annotations

import sys

import click

from requestor.errors import ConfigurationError


def ask_about_privacy(notice: str, yes: bool) -> None:
    """Shows what others will see, and asks for the agreement to it unless `yes` is True.

    Raises `ConfigurationError` if stdin is no terminal, so that nobody can answer, and click's `Abort` if the answer is
    no.
    """
    if yes:
        click.echo(notice, err=True)
    elif sys.stdin.isatty():
        click.confirm(f"{notice} Continue?", abort=True, err=True)
    else:
        raise ConfigurationError(f"{notice} Pass --yes to agree, or --backend local, which sends nothing.")
