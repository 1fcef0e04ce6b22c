"""Walks over all commands of `nima-golem`."""

from __future__ import annotations

from collections.abc import Iterator

import click


def commands(group: click.Group, *path: str) -> Iterator[tuple[str, ...]]:
    """Yields the path of every command and group below `group`, such as (`devnet`, `up`)."""
    context = click.Context(
        group, **group.context_settings
    )  # its settings matter: click keeps the help option of the first context
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        yield (*path, name)
        if isinstance(command, click.Group):
            yield from commands(command, *path, name)
