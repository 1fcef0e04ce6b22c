"""`nima-golem providers`: lists and pardons the providers that are not hired any more."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from requestor.errors import ConfigurationError
from requestor.terminal import Column, table_lines, terminal_width

_COLUMNS = (
    Column("provider"),  # in full, as `pardon` takes it
    Column("name", if_narrow="cut end"),
    Column("banned since"),
    Column("reason", if_narrow="fold"),
)


@click.group()
def providers() -> None:
    """List and pardon banned providers. A provider that sent bad work is banned: no run hires it until it is pardoned.

    \b
    Examples:
        nima-golem providers list
    """


@providers.command("list", short_help="List the banned providers with the reasons.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on each line.")
def list_(as_json: bool) -> None:
    """List the banned providers with the reasons. The latest ban comes last.

    \b
    Examples:
        nima-golem providers list --json
    """
    from requestor.training.providers import ban_list

    bans = ban_list().read()
    for provider_id, ban in bans.items():
        if as_json:
            click.echo(json.dumps({"provider_id": provider_id, **asdict(ban)}))
    if not as_json:
        rows = [[provider_id, ban.name, ban.since, ban.reason] for provider_id, ban in bans.items()]
        click.echo("\n".join(table_lines(_COLUMNS, rows, terminal_width())) if rows else "No provider is banned.")


@providers.command(short_help="Allow a provider to be hired again.")
@click.argument("provider_id")
def pardon(provider_id: str) -> None:
    """Remove a provider from the list, so that runs hire it again.

    \b
    Examples:
        nima-golem providers pardon 0x5d3c6a7a5b5c0b0a8a2f4f6a3a9e1c7d2b8e4f60
    """
    from requestor.training.providers import ban_list

    if not ban_list().pardon(provider_id):
        raise ConfigurationError(
            f"{provider_id} is not banned. `nima-golem providers list` shows the banned providers."
        )
    click.echo(f"{provider_id} can be hired again.")
