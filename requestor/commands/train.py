"""`nima-golem train`: train a model on Golem providers, or on local subprocesses."""

from __future__ import annotations

import asyncio
import json
import signal
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from requestor.aggregation import RULES
from requestor.commands.amount import Amount, confirm_real_money
from requestor.errors import RunStopped
from requestor.golem.networks import DEFAULT_NETWORK, DEFAULT_SUBNET, TOKENS
from requestor.strategies import DEFAULT, STRATEGIES
from requestor.tables import Column, table_lines, terminal_width

if TYPE_CHECKING:
    from requestor.estimate import Assumptions
    from requestor.pipeline import TrainingRun
    from requestor.progress import RunProgress

_WORTH_WAITING_FOR = {
    "Embedding": "the features that come in next",
    "Training": "this round",
    "Evaluating": "the evaluation",
}


@click.command(short_help="Train a model on Golem providers (or on local subprocesses).")
@click.option("--ava", type=click.Path(path_type=Path), required=True, help="Folder with AVA.txt and images/<id>.jpg.")
@click.option("--budget", type=Amount(), required=True, help="The most that may leave your wallet, such as 2GLM.")
@click.option("--backend", type=click.Choice(["golem", "local"]), default="golem", show_default=True,
              help="Golem providers, or subprocesses on this machine (free).")  # fmt: skip
@click.option("--backbone", default="mobilenet_v2", show_default=True, help="A torchvision network.")
@click.option("--strategy", type=click.Choice(list(STRATEGIES)), default=DEFAULT, show_default=True,
              help="embed: providers compute features once, the head is trained here. federate: the head is trained in "
                   "federated rounds. fine-tune: embed, then rounds of the last blocks and the head.")  # fmt: skip
@click.option("--rounds", type=click.IntRange(1, 1000), help="Federated rounds. [default: "
              + ", ".join(f"{s.rounds} to {s.name}" for s in STRATEGIES.values() if s.rounds) + "]")  # fmt: skip
@click.option("--aggregation", type=click.Choice(list(RULES)), default="mean", show_default=True,
              help="How a round's updates become a step of the model.")  # fmt: skip
@click.option("--proximal", type=click.FloatRange(0, 10), default=0.0, show_default=True,
              help="FedProx's mu: holds clients' models together where their photos differ much.")  # fmt: skip
@click.option("--workers", type=click.IntRange(1, 1000), default=3, show_default=True, help="Providers at a time.")
@click.option("--max-price", type=Amount(), default="1GLM", show_default=True,
              help="What one provider may cost in its first hour at full load.")  # fmt: skip
@click.option("--test-ids", type=click.Path(path_type=Path, exists=True, dir_okay=False),
              help="File with ids to test on. [default: AVA/splits/test.txt, else a random tenth]")  # fmt: skip
@click.option("--run-dir", type=click.Path(path_type=Path, file_okay=False),
              help="The run's folder; the same one resumes it. [default: runs/<ava>-<backbone>-<seed>]")  # fmt: skip
@click.option("--network", type=click.Choice(list(TOKENS)),
              help=f"Payment network. [default: the devnet's, or {DEFAULT_NETWORK}]")  # fmt: skip
@click.option("--subnet", help=f"Golem subnet. [default: the devnet's, or {DEFAULT_SUBNET}]")
@click.option("--seed", type=click.IntRange(0, 2**31), default=0, show_default=True, help="Of everything random.")
@click.option("--estimate", is_flag=True, help="Only say what the run would do and cost; nothing is spent.")
@click.option("--yes", is_flag=True, help="Do not ask before spending real money.")
@click.option("--json", "as_json", is_flag=True, help="End with one JSON object on stdout.")
def train(
    ava: Path, budget: Decimal, backend: str, backbone: str, strategy: str, rounds: int | None, aggregation: str,
    proximal: float, workers: int, max_price: Decimal, test_ids: Path | None, run_dir: Path | None,
    network: str | None, subnet: str | None, seed: int, estimate: bool, yes: bool, as_json: bool,
) -> None:  # fmt: skip
    """Train NIMA on the photos of AVA.

    Shards the photos, hires providers, trains on the features that they compute or averages what they trained, round
    after round, and has the result evaluated by them. Never more than the budget leaves the wallet. Ctrl-C stops after
    the present round; the same command goes on.

    \b
    Examples:
        nima-golem devnet up --detach
        nima-golem train --ava tiny-ava --budget 2GLM
    """
    # Imported here, as `--help` and a mistyped option should not wait for torch.
    from requestor.runs import open_run

    if estimate:
        from requestor.estimate import Assumptions, market_assumptions

        hired = backend == "golem"
        assumptions = market_assumptions(network, subnet, workers, max_price) if hired else Assumptions()
        _show_estimate(ava, test_ids, backbone, strategy, rounds, workers, seed, budget, assumptions, as_json)
        return
    run, progress = open_run(
        ava=ava, budget=budget, backend=backend, backbone=backbone, strategy=strategy, rounds=rounds,
        aggregation=aggregation, proximal=proximal, workers=workers, max_price=max_price, test_ids=test_ids,
        run_dir=run_dir, network=network, subnet=subnet, seed=seed,
    )  # fmt: skip
    if backend == "golem" and not yes:
        confirm_real_money(run.config.network, budget)
    with progress:
        summary = asyncio.run(_with_signals(run, progress))
    click.echo(json.dumps(summary) if as_json else _for_people(summary))


def _show_estimate(
    ava: Path,
    test_ids: Path | None,
    backbone: str,
    strategy: str,
    rounds: int | None,
    workers: int,
    seed: int,
    budget: Decimal,
    assumptions: Assumptions,
    as_json: bool,
) -> None:
    from requestor import estimate

    stages = estimate.estimate_run(ava, test_ids, backbone, strategy, rounds, workers, seed, assumptions)
    if as_json:
        click.echo(json.dumps(estimate.as_json(stages, assumptions, STRATEGIES[strategy])))
    else:
        click.echo("\n".join(estimate.for_people(stages, assumptions, budget, STRATEGIES[strategy], workers)))


async def _with_signals(run: TrainingRun, progress: RunProgress) -> dict[str, Any]:
    """Ctrl-C once ends the run after its round, or the next shard's features, twice at once; SIGTERM at once.

    Always through the clean way out, which nothing interrupts. Once is enough where nobody is at work.
    """
    loop = asyncio.get_running_loop()
    work = asyncio.ensure_future(run.run())
    asked, ending = False, False

    def end() -> None:
        nonlocal ending
        if ending:
            click.echo("Agreements are being ended, and bills awaited; that takes two minutes at most.", err=True)
            return
        ending = True
        run.stop()
        work.cancel()

    def interrupt() -> None:
        nonlocal asked
        if not run.stop() or asked:
            end()
        else:
            asked = True
            step = _WORTH_WAITING_FOR.get(progress.doing, "what is being done")
            click.echo(f"Stopping after {step}; Ctrl-C again to stop now.", err=True)

    loop.add_signal_handler(signal.SIGINT, interrupt)
    loop.add_signal_handler(signal.SIGTERM, end)
    try:
        return await work
    except asyncio.CancelledError:
        raise RunStopped("Stopped; the same command goes on from what was finished.") from None


def _for_people(summary: dict[str, Any]) -> str:
    metrics, intervals = summary["metrics"], summary["intervals"]

    def between(metric: str) -> str:
        low, high = intervals[metric]
        return f"({low:.3f} … {high:.3f})"

    better = 1 - metrics["emd_r1"] / metrics["constant_emd_r1"]
    lines = [
        "",
        f"Test, {metrics['n']} photos, with 95% intervals:",
        f"  SRCC {metrics['srcc']:.3f} {between('srcc_mean')}, LCC {metrics['lcc']:.3f} {between('lcc_mean')}, "
        f"EMD {metrics['emd_r1']:.3f} {between('emd_r1')}",
        f"  EMD of a constant: {metrics['constant_emd_r1']:.3f} {between('constant_emd_r1')}; "
        f"the model's is {abs(better):.0%} {'below' if better >= 0 else 'above'} it",
        f"Spent {summary['spent_glm']:.6f} of {summary['budget_glm']:g} GLM in {summary['seconds']:.0f} s:",
        "",
    ]
    columns = (Column("provider", if_narrow="cut end"), Column("tasks", "right"), Column("paid GLM", "right"))
    rows = [[paid["name"], str(paid["tasks"]), f"{paid['paid_glm']:.6f}"] for paid in summary["providers"]]
    lines += [
        *table_lines(columns, rows, terminal_width()),
        "",
        f"Model:  {summary['model']}",
        f"Report: {Path(summary['model']).with_name('report.html')}",
    ]
    return "\n".join(lines)
