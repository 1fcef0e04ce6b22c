"""Writes docs/cli.md, the page with the help of every command: `python -m scripts.docs.cli_page`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from requestor.commands.main import EXIT_CODES, SECTIONS, main
from requestor.commands.settings import OF_A_FOLDER

PAGE = Path(__file__).resolve().parents[2] / "docs" / "cli.md"
COMMAND = "python -m scripts.docs.cli_page"
WIDTH = 100  # columns of the help texts, whatever the terminal

_HEAD = f"""\
# The command line

This page holds the `--help` of every command. `{COMMAND}` writes it; do not edit it by hand.

Every option can also be set by an environment variable or in your own settings: see the first text below.

## Settings of a folder

A file `nima-golem.toml` in the working directory may set these options, with a table for each command, such as
`[score]` or `[ava.tiny]`. The command then says on stderr what the file sets. A folder may come from anybody, so the
file may set no other options, least of all those about money, networks, hosts, outputs and questions.

| command | options |
|---|---|
{{settings}}

## Exit codes

| code | meaning |
|---|---|
{{codes}}
"""


def cli_page() -> str:
    """Returns the page as Markdown. It is the same on every machine and on every terminal."""
    top = main.make_context("nima-golem", [], resilient_parsing=True)
    top.terminal_width = top.max_content_width = WIDTH  # the contexts of the commands inherit both
    rows = [f"| `{name}` | {', '.join(f'`{o}`' for o in options)} |" for name, options in OF_A_FOLDER.items()]
    codes = [f"| {code} | {meaning} |" for code, meaning in EXIT_CODES.items()]
    lines = [_HEAD.format(settings="\n".join(rows), codes="\n".join(codes)), *_help(top, 2)]
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
