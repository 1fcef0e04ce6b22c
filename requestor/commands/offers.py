"""`nima-golem offers`: lists the providers that a run would hire, with their prices."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal

import click

from requestor.golem import DEFAULT_NETWORK, DEFAULT_SUBNET, TOKEN_OF_NETWORK
from requestor.terminal import Column, GlmAmount, table_lines, terminal_width

_FIGURES = ("threads", "GiB", "start GLM", "CPU hour GLM", "hour GLM", "first hour GLM")
_COLUMNS = (Column("provider", if_narrow="cut end"), *(Column(heading, "right") for heading in _FIGURES))


@click.command()
@click.option("--network", type=click.Choice(list(TOKEN_OF_NETWORK)),
              help=f"Payment network. [default: the devnet's, or {DEFAULT_NETWORK}]")  # fmt: skip
@click.option("--subnet", help=f"Golem subnet. [default: the devnet's, or {DEFAULT_SUBNET}]")
@click.option(
    "--seconds", type=click.FloatRange(1, 600), default=10, show_default=True, help="Number of seconds to listen."
)
@click.option("--max-price", type=GlmAmount(), default="1GLM", show_default=True,
              help="Largest price of one provider for its first hour at full load, as `train` has it.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on each line.")
def offers(network: str | None, subnet: str | None, seconds: float, max_price: Decimal, as_json: bool) -> None:
    """Listen to the market, and list the providers that `train` would hire, the cheapest first.

    No provider is hired or paid. The others are counted, with the reason why they would not be hired: another payment
    network, their price, their memory, or a ban.

    \b
    Examples:
        nima-golem offers
        nima-golem offers --network polygon --seconds 30 --json
    """
    from requestor.backends import offer_filter
    from requestor.golem import GolemConnection, chosen_subnet, survey_market
    from requestor.setup import golem_environment
    from requestor.training.providers import ban_list

    environment = golem_environment()
    connection = GolemConnection.from_environment(environment, network)
    banned = ban_list().read()
    wanted = offer_filter(connection, chosen_subnet(environment, subnet), max_price, banned.__contains__)
    survey = asyncio.run(survey_market(connection, wanted, seconds))
    rows = []
    for offer in survey.taken:
        glm = {
            "start_glm": offer.price.start,
            "cpu_hour_glm": offer.cpu_hour,
            "hour_glm": offer.wall_hour,
            "first_hour_glm": offer.first_hour,
        }
        if as_json:
            row = {"provider_id": offer.provider_id, "name": offer.name, "threads": offer.threads}
            exact = {name: str(amount) for name, amount in glm.items()}
            click.echo(json.dumps({**row, "memory_gib": offer.memory_gib, **exact}))
        else:
            amounts = (f"{amount:.4f}" for amount in glm.values())
            rows.append([offer.name, str(offer.threads), f"{offer.memory_gib:.1f}", *amounts])
    if rows:
        click.echo("\n".join(table_lines(_COLUMNS, rows, terminal_width())))
    if not survey.count:
        click.echo(
            "No provider offers anything in this subnet. Check the subnet, and that the daemon is connected.", err=True
        )
    elif survey.count > len(survey.taken):
        click.echo(f"{survey.describe()}.", err=True)
