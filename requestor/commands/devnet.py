"""`nima-golem devnet`: a whole Golem network on this machine, for this project and for any other yapapi program."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nima.safe_io import printable
from requestor.errors import DevnetError, RequestorError, RunStopped
from requestor.terminal import Column, field_lines, table_lines, terminal_width

if TYPE_CHECKING:
    from decimal import Decimal

    from requestor.devnet import Devnet, NetworkOptions, ProviderAccount

name_option = click.option(
    "--name",
    envvar="NIMA_GOLEM_DEVNET",
    help="Name of the devnet, if several run.  [env: NIMA_GOLEM_DEVNET]",
)


@click.group()
def devnet() -> None:
    """Run a whole Golem network on this machine: a chain, a requestor and providers, without Docker and internet.

    A yapapi program runs on it unchanged if it names no subnet and no network of its own, and gives its image_url.

    \b
    Examples:
        nima-golem devnet up --detach
        eval "$(nima-golem devnet env)"
        python my_requestor.py
        nima-golem devnet settle
        nima-golem devnet down

    The providers negotiate, bill and fail as Golem's do. Tasks run in the image that --image names, or on this
    machine's own system, in a sandbox without network, environment or access to your files. The volumes are those of
    the image, or /golem/work, /golem/input, /golem/output, /golem/resource, /golem/store and /golem/jobs.

    Images: `vm.repo(image_hash=…, image_url=…)` works with any image that can be downloaded, and with the devnet's own
    (NIMA_GOLEM_IMAGE_HASH, NIMA_GOLEM_IMAGE_URL). A look-up by hash or tag alone asks Golem's registry on the internet.
    yapapi has no variable that redirects it, but the argument `repository_url` may be the image host's address.
    """


@devnet.command()
@click.option("--providers", default=3, show_default=True, type=click.IntRange(1, 50), help="Number of providers.")
@click.option("--detach", is_flag=True, help="Return when the devnet is ready, and leave it running.")
@click.option("--name", envvar="NIMA_GOLEM_DEVNET", default="default", show_default=True, help="Name of the devnet.")
@click.option("--subnet", default="", help="Subnet of the devnet.  [default: devnet-NAME]")
@click.option("--unfunded", is_flag=True, help="Leave the requestor's wallet empty. Otherwise it holds 1000 tGLM.")
@click.option("--image", metavar="FILE.gvmi", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="Run tasks in this image.  [default: on this machine's own system]")  # fmt: skip
@click.option("--image-env", is_flag=True, help="Give programs the image's ENV, as older providers do.")
@click.option("--overhead", type=click.FloatRange(0, 1), default=0.0, show_default=True,
              help="CPU time that a provider's VM needs for itself, as a share of that of its programs.")  # fmt: skip
@click.option(
    "--fault", "faults", default="", metavar="KIND[:COUNT],…", help="Let the last providers behave wrongly; see below."
)
def up(
    providers: int,
    detach: bool,
    name: str,
    subnet: str,
    unfunded: bool,
    image: Path | None,
    image_env: bool,
    overhead: float,
    faults: str,
) -> None:
    """Start a devnet. Without --detach, the command prints what happens and runs until Ctrl-C.

    \b
    Each fault is for one provider. The last providers get them, in the given order. docs/devnet.md explains them:
        crash, hang, drop, refuse, overcharge, slow:FACTOR
        garbage, truncated, oversized, pickle, zip-slip, stale, replay
        wrong-shape, nan, zero, flip, scale, label-flip, bad-features

    \b
    Examples:
        nima-golem devnet up --detach
        nima-golem devnet up --providers 8 --fault crash,scale:2,slow:4
    """
    from requestor.devnet import NetworkOptions, start_devnet

    options = NetworkOptions(
        name=name, providers=providers, subnet=subnet, funded=not unfunded, faults=faults,
        image=str(image.resolve()) if image else "", image_environment=image_env,
        overhead=overhead,
    )  # fmt: skip
    started = time.monotonic()
    if detach:
        click.echo(f"Starting the devnet {name}. The first time, npm downloads the programs of the chain.", err=True)
        _show_ready(start_devnet(options, _show_step), time.monotonic() - started)
    else:
        asyncio.run(_foreground(options, started))


async def _foreground(options: NetworkOptions, started: float) -> None:
    from requestor.devnet import devnet_folder, supervise_devnet

    shown: list[asyncio.Task[None]] = []

    def on_ready(devnet: Devnet) -> None:
        _show_ready(devnet, time.monotonic() - started)
        click.echo("Ctrl-C stops the devnet.")
        shown.append(asyncio.ensure_future(_show_changes(devnet)))

    try:
        await supervise_devnet(options, _show_step, on_ready)
    finally:
        for task in shown:
            task.cancel()
    raise RunStopped(f"The devnet is stopped. Its logs are kept in {devnet_folder(options.name) / 'logs'}.")


async def _show_changes(devnet: Devnet) -> None:
    """Prints a line whenever a provider's state or account changes."""
    from requestor.devnet import provider_accounts
    from requestor.devnet.provider import plain_decimal

    last: dict[str, str] = {}
    while True:
        with contextlib.suppress(RequestorError):  # the devnet may be stopping
            for account in await provider_accounts(devnet):
                paid = f"paid {plain_decimal(account.paid)} of {plain_decimal(account.invoiced)} GLM"
                line = f"{account.state}, {account.agreements} agreements, {paid}"
                if last.get(account.name, "idle, 0 agreements, paid 0 of 0 GLM") != line:
                    click.echo(f"{time.strftime('%H:%M:%S')} {account.name}: {line}")
                last[account.name] = line
        await asyncio.sleep(1)


def _show_step(step: str) -> None:
    click.echo(f"… {step}", err=True)


def _show_ready(devnet: Devnet, seconds: float) -> None:
    """Prints all that a program needs to use the devnet, and what to type next."""
    from requestor.devnet import DEVNET_NETWORK
    from requestor.devnet.provider import provider_prices

    click.echo(f"The devnet {devnet.name} is ready after {seconds:.1f} s.\n")
    rows = []
    for index, node in enumerate(devnet.providers):
        cpu_second, second, _ = provider_prices(index)
        prices = [f"{3600 * price:.4g}" for price in (second, cpu_second)]
        rows.append(
            [node.name, *prices, node.node_id, *([node.fault] if any(n.fault for n in devnet.providers) else [])]
        )
    columns = [Column("provider"), Column("GLM an hour", "right"), Column("and a CPU hour", "right"), Column("wallet")]
    columns += [Column("fault")] if len(rows[0]) > len(columns) else []
    chain = devnet.chain
    chainless = "It has no chain, because npm is not installed: allocations are not checked, and nothing is settled."
    fields = [
        ("network", f"{DEVNET_NETWORK}, on this machine; subnet {devnet.subnet}"),
        ("requestor", devnet.requestor.node_id),
        ("daemon", devnet.requestor.api_url),
        ("app key", devnet.requestor.app_key),
        ("chain", f"{chain.url}, token {chain.token}" if chain else chainless),
        ("image", f"{devnet.image_url}, sha3 {devnet.image_hash}"),
        ("logs", str(devnet.logs)),
    ]
    width = terminal_width()
    click.echo("\n".join([*table_lines(columns, rows, width), "", *field_lines(fields, width), ""]))
    flag = "" if devnet.name == "default" else f" --name {devnet.name}"
    click.echo("To use it, type:")
    click.echo(f'    eval "$(nima-golem devnet env{flag})"')
    click.echo("    nima-golem offers")
    click.echo(f"    nima-golem devnet status{flag}\n    nima-golem devnet down{flag}")


@devnet.command()
@name_option
def down(name: str | None) -> None:
    """Stop a devnet and all processes that it started. Its logs are kept.

    \b
    Examples:
        nima-golem devnet down
    """
    from requestor.devnet import (
        DEFAULT_DEVNET,
        DEVNET_VARIABLE,
        clear_devnet,
        devnet_folder,
        devnet_state_file,
        find_devnet,
        stop_devnet,
    )

    running = find_devnet(name)
    if running is None:
        wanted = name or os.environ.get(DEVNET_VARIABLE) or DEFAULT_DEVNET
        if not devnet_state_file(wanted).exists():
            raise DevnetError(f"No devnet named {wanted} is running. Start one with `nima-golem devnet up --detach`.")
        clear_devnet(devnet_folder(wanted))
        click.echo(f"The devnet {wanted} was killed earlier. What it left behind is removed now.")
        return
    stop_devnet(running)
    click.echo(f"The devnet {running.name} is stopped.")


@devnet.command()
@name_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def status(name: str | None, as_json: bool) -> None:
    """Show the state of the providers, and how much they were paid.

    \b
    Examples:
        nima-golem devnet status
        nima-golem devnet status --json
    """
    from requestor.devnet import provider_accounts, requestor_wallet
    from requestor.devnet.provider import plain_decimal

    async def read() -> tuple[list[ProviderAccount], Decimal | None]:
        return await provider_accounts(running), await requestor_wallet(running)

    running = _find(name)
    accounts, wallet = asyncio.run(read())
    if as_json:
        value = {
            "name": running.name,
            "pid": running.pid,
            "subnet": running.subnet,
            "chain": running.chain is not None,
            "logs": str(running.logs),
            "requestor": {
                "node_id": running.requestor.node_id,
                "api_url": running.requestor.api_url,
                "wallet": None if wallet is None else plain_decimal(wallet),
            },
            "providers": [account.to_json() for account in accounts],
        }
        click.echo(json.dumps(value, indent=2))
        return
    click.echo(f"{running.name}: subnet {running.subnet}, {running.requestor.api_url}, logs in {running.logs}")
    held = "no chain" if wallet is None else f"{plain_decimal(wallet)} tGLM"
    click.echo(f"requestor {running.requestor.node_id}: {held}")
    _table(accounts)


@devnet.command()
@name_option
@click.option("--timeout", default=60.0, show_default=True, help="Number of seconds to wait.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def settle(name: str | None, timeout: float, as_json: bool) -> None:
    """Pay every accepted invoice now, and wait until the providers have seen it on the chain.

    \b
    Examples:
        nima-golem devnet settle
    """
    from requestor.devnet import settle_bills

    running = _find(name)
    accounts = asyncio.run(settle_bills(running, timeout))
    if as_json:
        click.echo(json.dumps({"providers": [account.to_json() for account in accounts]}, indent=2))
    else:
        _table(accounts)


@devnet.command()
@name_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
@click.option("--unset", is_flag=True, help="Print the commands that take the variables of any devnet back.")
def env(name: str | None, as_json: bool, unset: bool) -> None:
    """Print the variables that make a yapapi program use the devnet, as shell commands.

    \b
    Examples:
        eval "$(nima-golem devnet env)"
        eval "$(nima-golem devnet env --unset)"
    """
    if unset:
        _show_unset()
        return
    running = _find(name)
    variables = {"NIMA_GOLEM_DEVNET": running.name, **running.environment()}
    if as_json:
        click.echo(json.dumps(variables, indent=2))
        return
    for key, value in variables.items():
        click.echo(f"export {key}={shlex.quote(value)}")


def _show_unset() -> None:
    from requestor.devnet import DEVNET_VARIABLES, devnets_folder

    click.echo(f"unset {' '.join(DEVNET_VARIABLES)}")
    parts = os.environ.get("PATH", "").split(os.pathsep)
    kept = [part for part in parts if not Path(part).is_relative_to(devnets_folder())]
    if kept != parts:
        click.echo(f"export PATH={shlex.quote(os.pathsep.join(kept))}")


@devnet.command()
@click.argument("who", required=False)
@name_option
@click.option("--lines", default=20, show_default=True, help="Number of lines of each log.")
def logs(who: str | None, name: str | None, lines: int) -> None:
    """Show the end of each log whose name contains WHO, or of all logs.

    \b
    Examples:
        nima-golem devnet logs
        nima-golem devnet logs provider-1 --lines 100
    """
    from requestor.devnet import DEFAULT_DEVNET, devnet_folder, find_devnet

    running = find_devnet(name)
    folder = running.logs if running else devnet_folder(name or DEFAULT_DEVNET) / "logs"
    found = [path for path in sorted(folder.glob("*.log")) if who is None or who in path.name]
    if not found:
        raise DevnetError(f"There is no such log in {folder}. `ls {folder}` lists the logs.")
    for path in found:
        click.echo(f"==> {path}")
        click.echo("\n".join(map(printable, path.read_text(errors="replace").splitlines()[-lines:])))


def _find(name: str | None) -> Devnet:
    from requestor.devnet import find_devnet

    found = find_devnet(name)
    if found is None:
        which = f"No devnet named {name}" if name else "No devnet"
        raise DevnetError(f"{which} is running. Start one with `nima-golem devnet up --detach`.")
    return found


def _table(accounts: list[ProviderAccount]) -> None:
    figures = (Column(heading, "right") for heading in ("agreements", "invoiced GLM", "paid GLM", "wallet GLM"))
    faulty = any(account.fault for account in accounts)
    columns = [
        Column("provider", if_narrow="cut end"),
        Column("state"),
        *figures,
        *([Column("fault")] if faulty else []),
    ]
    rows = []
    for account in accounts:
        wallet = "" if account.wallet is None else f"{account.wallet:.12f}"
        amounts = (f"{account.invoiced:.12f}", f"{account.paid:.12f}", wallet)
        rows.append(
            [account.name, account.state, str(account.agreements), *amounts, *([account.fault] if faulty else [])]
        )
    click.echo("\n".join(table_lines(columns, rows, terminal_width())))
    for account in accounts:
        if account.rejection:
            click.echo(f"{account.name} rejected a demand last because: {account.rejection}")
