"""`nima-golem runs`: lists, shows, resumes and removes the training runs in a folder."""

from __future__ import annotations

import asyncio
import json
import shutil
from contextlib import suppress
from dataclasses import asdict
from decimal import Decimal
from functools import partial
from pathlib import Path

import click

from requestor.errors import RequestorError, RunFolderError
from requestor.money import show_glm
from requestor.records import (
    Ledger,
    RunFiles,
    RunFolder,
    describe_open_bills,
    describe_payments,
    is_training_run,
    read_run_state,
)
from requestor.terminal import Column, field_lines, table_lines, terminal_width

_COLUMNS = (
    Column("run", if_narrow="cut start"),
    Column("state"),
    Column("strategy"),
    Column("rounds", "right"),
    Column("backend"),
    Column("spent GLM", "right"),
    Column("SRCC", "right"),
)
_RECEIPT_COLUMNS = (Column("provider", if_narrow="cut end"), Column("tasks", "right"), Column("accepted GLM", "right"))

_ASKING_SECONDS = 3.0  # time limit of the question what the daemon has paid by now

folder_argument = click.argument("run", type=click.Path(path_type=Path))


@click.group()
def runs() -> None:
    """List, show, resume and remove training runs. Each run is a folder, by default below ./runs.

    \b
    Examples:
        nima-golem runs list
        nima-golem runs resume runs/tiny-ava-mobilenet_v2-0
    """


@runs.command("list", short_help="List the runs below a folder.")
@click.argument("folder", required=False, type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--root",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("runs"),
    show_default=True,
    help="Folder with the runs.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on each line.")
def list_(folder: Path | None, root: Path, as_json: bool) -> None:
    """List the runs below FOLDER, or below --root. If FOLDER is a run itself, the list has only this run.

    \b
    Examples:
        nima-golem runs list
        nima-golem runs list ~/runs --json
    """
    root = folder or root
    folders = [path.parent for path in sorted([*root.glob("run.json"), *root.glob("*/run.json")])]
    found = [folder for folder in folders if is_training_run(folder)]
    rows = []
    for run in map(read_run_state, found):
        if as_json:
            click.echo(json.dumps(asdict(run)))
        else:
            srcc = "" if run.srcc is None else f"{run.srcc:.3f}"
            spent = f"{Decimal(run.spent_glm):.6f}"
            rows.append([run.run, run.state, run.strategy, run.rounds, run.backend, spent, srcc])
    if rows:
        click.echo("\n".join(table_lines(_COLUMNS, rows, terminal_width())))
    if not found and not as_json:
        click.echo(f"There are no runs below {root}.")


@runs.command(short_help="Show the state of a run.")
@folder_argument
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def show(run: Path, as_json: bool) -> None:
    """Show the state of RUN, a run's folder: rounds, cost, results, and open agreements and allocations on Golem.

    \b
    Examples:
        nima-golem runs show runs/tiny-ava-mobilenet_v2-0
    """
    state = read_run_state(run)
    _note_payments(run)
    if as_json:
        click.echo(json.dumps({**asdict(state), "summary": RunFiles(run).read("summary.json")}))
        return
    fields = []
    for name, value in asdict(state).items():
        known = (", ".join(value) or "none") if isinstance(value, list) else "–" if value is None else str(value)
        fields.append((name.replace("_", " "), known))
    click.echo("\n".join(field_lines(fields, terminal_width())))
    receipts = Ledger(run / "ledger.jsonl").receipts()
    paid = [[receipt.name, str(receipt.tasks), f"{receipt.paid_glm:.6f}"] for receipt in receipts]
    if paid:
        click.echo("\n".join(["", *table_lines(_RECEIPT_COLUMNS, paid, terminal_width())]))
    for sentence in filter(None, (describe_payments(receipts), describe_open_bills(receipts))):
        click.echo(f"\n{sentence}")


def _note_payments(run: Path) -> None:
    """Asks the daemon which bills of a run it has paid by now, if it answers and no other process works there."""
    if not Ledger(run / "ledger.jsonl").unpaid_invoices():
        return
    from requestor.golem import GolemConnection, Wallet, note_payments
    from requestor.setup import golem_environment

    async def ask(ledger: Ledger) -> None:
        environment = golem_environment()
        connection = GolemConnection.from_environment(environment)
        async with Wallet(connection, timeout=_ASKING_SECONDS, patience=0) as wallet:
            await note_payments(wallet, ledger, environment)

    with suppress(RequestorError):
        folder = RunFolder(run, {})
        try:
            asyncio.run(ask(folder.ledger))
        finally:
            folder.close()


@runs.command(short_help="Write the report of a run again.")
@folder_argument
def report(run: Path) -> None:
    """Write the report of RUN again from the files in its folder, and print its path.

    Training also does this after every round.

    \b
    Examples:
        nima-golem runs report runs/tiny-ava-mobilenet_v2-0
    """
    from requestor.training.report import write_report

    click.echo(write_report(run))


@runs.command(short_help="Continue a run.")
@folder_argument
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout at the end.")
@click.option("--yes", is_flag=True, help="Do not ask before spending real money or showing private photos.")
@click.option("--devnet", "own_devnet", is_flag=True, help="Start a local Golem for this run, and stop it at the end.")
@click.option("--providers", type=click.IntRange(1, 50), help="Number of providers of --devnet. [default: 3]")
def resume(run: Path, as_json: bool, yes: bool, own_devnet: bool, providers: int | None) -> None:
    """Continue RUN after a crash or Ctrl-C, with the options that it was started with.

    \b
    Examples:
        nima-golem runs resume runs/tiny-ava-mobilenet_v2-0
    """
    # Imported here, as the other commands do not need numpy.
    from requestor.commands.train import run_training
    from requestor.setup import golem_of_run
    from requestor.training import TrainOptions

    read_run_state(run)
    options = TrainOptions.read(run)
    note = partial(click.echo, err=True)
    with golem_of_run(own_devnet, providers, options.backend, options.network, options.subnet, note):
        run_training(options, yes, as_json)


@runs.command(short_help="Remove a run's folder.")
@folder_argument
@click.option("--force", is_flag=True, help="Remove the folder even if the run may still owe money.")
@click.option("--yes", is_flag=True, help="Do not ask before a run is removed that GLM was paid for.")
def rm(run: Path, force: bool, yes: bool) -> None:
    """Remove the folder of RUN, with its model and its receipts. The command asks first if GLM was paid for the run.

    \b
    Examples:
        nima-golem runs rm runs/tiny-ava-mobilenet_v2-0
    """
    state = read_run_state(run)
    if (state.open_agreements or state.open_allocations) and not force:
        raise RunFolderError(
            f"{run} may still owe money ({len(state.open_agreements)} agreements, "
            f"{len(state.open_allocations)} allocations): `nima-golem runs resume` settles them, "
            "--force removes it all the same."
        )
    spent = Decimal(state.spent_glm)
    if spent and not yes:
        question = f"{run} cost {show_glm(spent)}, and its model and receipts are in no other place. Remove it?"
        click.confirm(question, abort=True, err=True)
    shutil.rmtree(run)
