"""Writes docs/cli.md, the page with the help of every command: `python -m scripts.docs.cli_page`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from requestor.commands.main import SECTIONS, main

PAGE = Path(__file__).resolve().parents[2] / "docs" / "cli.md"
COMMAND = "python -m scripts.docs.cli_page"
WIDTH = 100  # columns of the help texts, whatever the terminal

_HEAD = f"""\
# The command line

This page holds the `--help` of every command. `{COMMAND}` writes it; do not edit it by hand.

Every option can also be set in `nima-golem.toml` in the working directory, or by an environment variable: see the first
text below.
"""


def cli_page() -> str:
    """Returns the page as Markdown. It is the same on every machine and on every terminal."""
    top = main.make_context("nima-golem", [], resilient_parsing=True)
    top.terminal_width = top.max_content_width = WIDTH  # the contexts of the commands inherit both
    lines = [_HEAD, *_help(top, 2)]
    for section, names in SECTIONS.items():
        lines.append(f"## {section}\n")
        for name in names:
            command = main.get_command(top, name)
            assert command is not None
            lines += _with_subcommands(click.Context(command, parent=top, info_name=name), 3)
    return "\n".join(lines)


def _with_subcommands(context: click.Context, level: int) -> Iterator[str]:
    yield from _help(context, level)
    if isinstance(context.command, click.Group):
        for name, command in sorted(context.command.commands.items()):
            yield from _with_subcommands(click.Context(command, parent=context, info_name=name), level + 1)


def _help(context: click.Context, level: int) -> Iterator[str]:
    yield f"{'#' * level} `{context.command_path}`\n"
    text = "\n".join(line.rstrip() for line in context.get_help().splitlines())
    yield f"```text\n{text}\n```\n"


if __name__ == "__main__":
    PAGE.write_text(cli_page(), encoding="utf-8")
