"""`nima-golem train`: trains a model on Golem providers, or in local subprocesses."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import closing
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from requestor.audits import AUDIT_SHARE
from requestor.errors import ConfigurationError
from requestor.golem import DEFAULT_NETWORK, DEFAULT_SUBNET, TOKEN_OF_NETWORK
from requestor.records import END_REASONS
from requestor.terminal import (
    ENDING_AGREEMENTS,
    Column,
    GlmAmount,
    ask_about_privacy,
    confirm_real_money,
    convert_for_scoring,
    run_until_stopped,
    table_lines,
    terminal_width,
)
from requestor.training import (
    DEFAULT_STRATEGY,
    HOURS_LIMITS,
    OPTION_LIMITS,
    STRATEGIES,
    TrainOptions,
    choose_ava_folder,
)
from requestor.training.rounds import AGGREGATION_RULES

if TYPE_CHECKING:
    from requestor.terminal import RunProgress
    from requestor.training.run import TrainingRun

DEFAULT_BACKBONE = "mobilenet_v2"
EXIT_WORSE_THAN_CONSTANT = 3  # exit code of a run whose model is worse than a constant prediction
_WORTH_WAITING_FOR = {
    "Embedding": "the features that come in next",
    "Training": "this round",
    "Evaluating": "the evaluation",
}


class BlockCount(click.IntRange):
    """A number of blocks, or `all`, which becomes -1."""

    name = "n|all"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return -1 if value == "all" else super().convert(value, param, ctx)


@click.command()
@click.option("--ava", type=click.Path(path_type=Path),
              help="Folder with AVA.txt and images/<id>.jpg. [default: ./ava, or this folder]")  # fmt: skip
@click.option(
    "--budget", type=GlmAmount(), required=True, help="The largest amount that the run may cost, such as 2GLM."
)
@click.option("--backend", type=click.Choice(["golem", "local"]), default="golem", show_default=True,
              help="Compute on Golem providers, or in subprocesses on this machine (free).")  # fmt: skip
@click.option("--backbone", help="Network of torchvision to start from, with its weights of ImageNet. [default: "
              f"{DEFAULT_BACKBONE}]")  # fmt: skip
@click.option("--start", metavar="MODEL", help="Model to go on from instead, which knows people's taste: a file, or a "
              "name such as mobilenet_v1-ava.")  # fmt: skip
@click.option("--strategy", type=click.Choice(list(STRATEGIES)), default=DEFAULT_STRATEGY, show_default=True,
              help="auto: embed, then federated rounds of the last blocks and the head until they no longer help. "
                   "embed: providers compute features once, the head is trained here. federate: the head is trained in "
                   "federated rounds. fine-tune: embed, then a fixed number of rounds.")  # fmt: skip
@click.option("--rounds", type=click.IntRange(*OPTION_LIMITS["rounds"]), help="Number of federated rounds. [default: "
              "as many as help for auto, "
              + ", ".join(f"{s.rounds} for {s.name}" for s in STRATEGIES.values() if s.rounds) + "]")  # fmt: skip
@click.option("--blocks", type=BlockCount(0, OPTION_LIMITS["blocks"][1]),
              help="Number of the network's last blocks that rounds train, or all. "
                   f"[default: {STRATEGIES['auto'].blocks}; 0 for federate]")  # fmt: skip
@click.option("--hours", type=click.FloatRange(*HOURS_LIMITS),
              help="Begin no further round that would end later than this. [default: no limit]")  # fmt: skip
@click.option("--aggregation", type=click.Choice(list(AGGREGATION_RULES)), default="mean", show_default=True,
              help="Rule that combines the updates of a round.")  # fmt: skip
@click.option("--proximal", type=click.FloatRange(*OPTION_LIMITS["proximal"]), default=0.0, show_default=True,
              help="FedProx's mu: keeps the clients' models similar if their photos differ much.")  # fmt: skip
@click.option(
    "--workers",
    type=click.IntRange(*OPTION_LIMITS["workers"]),
    default=3,
    show_default=True,
    help="Number of providers that work at the same time.",
)
@click.option("--audit", type=click.FloatRange(*OPTION_LIMITS["audit"]), default=AUDIT_SHARE, show_default=True,
              help="Share of the providers' work that is computed again here, chosen after it came.")  # fmt: skip
@click.option("--max-price", type=GlmAmount(), default="1GLM", show_default=True,
              help="Largest price of one provider for its first hour at full load.")  # fmt: skip
@click.option("--test-ids", type=click.Path(path_type=Path, exists=True, dir_okay=False),
              help="File with the ids for testing. [default: AVA/splits/test.txt, or a random tenth]")  # fmt: skip
@click.option("--run-dir", type=click.Path(path_type=Path, file_okay=False),
              help="Folder of the run; an existing run continues. [default: runs/<ava>-<backbone>-<seed>]")  # fmt: skip
@click.option("--network", type=click.Choice(list(TOKEN_OF_NETWORK)),
              help=f"Payment network. [default: the devnet's, or {DEFAULT_NETWORK}]")  # fmt: skip
@click.option("--devnet", "own_devnet", is_flag=True,
              help="Start a local Golem for this run, hire its providers, and stop it at the end.")  # fmt: skip
@click.option("--providers", type=click.IntRange(1, 50), help="Number of providers of --devnet. [default: 3]")
@click.option("--subnet", help=f"Golem subnet. [default: the devnet's, or {DEFAULT_SUBNET}]")
@click.option(
    "--seed",
    type=click.IntRange(*OPTION_LIMITS["seed"]),
    default=0,
    show_default=True,
    help="Seed of everything random.",
)
@click.option("--estimate", is_flag=True, help="Only print what the run would do and cost. Nothing is spent.")
@click.option("--yes", is_flag=True, help="Do not ask before spending real money or showing private photos.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout at the end.")
def train(
    ava: Path | None, budget: Decimal, backend: Literal["golem", "local"], backbone: str | None, strategy: str,
    rounds: int | None, blocks: int | None, hours: float | None, aggregation: str, proximal: float, workers: int,
    max_price: Decimal, test_ids: Path | None, run_dir: Path | None, network: str | None, own_devnet: bool,
    providers: int | None, subnet: str | None, seed: int, estimate: bool, yes: bool, as_json: bool, audit: float,
    start: str | None,
) -> None:  # fmt: skip
    """Train NIMA on the photos of AVA.

    The command hires providers and sends them the photos. It trains on the features that they compute, or averages the
    models that they train, round after round. Then they evaluate the result. The run never costs more than the budget.
    Ctrl-C stops the run after the current round, and the same command continues it.

    \b
    Examples:
        nima-golem devnet up --detach
        nima-golem ava tiny ava
        nima-golem train --budget 2GLM
        nima-golem train --budget 2GLM --devnet --providers 5
        nima-golem train --ava tiny-ava --budget 2GLM --backend local
        nima-golem train --ava mine --budget 2GLM --backend local --start mobilenet_v1-ava
    """
    from requestor.setup import golem_of_run

    backbone, start = _starting_model(backbone, start)
    options = TrainOptions(
        ava=choose_ava_folder(ava), budget=budget, backend=backend, backbone=backbone, strategy=strategy, rounds=rounds,
        aggregation=aggregation, proximal=proximal, workers=workers, max_price=max_price, test_ids=test_ids,
        run_dir=run_dir, network=network, subnet=subnet, seed=seed, blocks=blocks, hours=hours, audit=audit,
        start=start,
    )  # fmt: skip
    with golem_of_run(own_devnet, providers, backend, network, subnet, partial(click.echo, err=True)):
        if estimate:
            _show_estimate(options, as_json)
        else:
            run_training(options, yes, as_json)


def _starting_model(backbone: str | None, start: str | None) -> tuple[str, str | None]:
    """Returns the name of the backbone, and the name or the absolute path of the model that the run goes on from."""
    if start is None:
        return backbone or DEFAULT_BACKBONE, None
    from nima.model import read_header
    from nima.weights import PUBLISHED_WEIGHTS
    from requestor.terminal import find_or_fetch_model

    path = find_or_fetch_model(start)
    of_start = read_header(path).backbone
    if backbone not in (None, of_start):
        raise ConfigurationError(f"--start {start} has the backbone {of_start}: leave --backbone {backbone} out.")
    return of_start, start if start in PUBLISHED_WEIGHTS else str(path.resolve())


def run_training(options: TrainOptions, yes: bool, as_json: bool) -> None:
    """Trains with these options, or continues their run, and prints the summary.

    Args:
        options: the options of the run.
        yes: True asks nothing.
        as_json: True prints the summary as one JSON object.

    Raises RequestorError and NimaError if the run cannot start, fails or is stopped; click.Abort if the user does not
    want to spend money or to show private photos.
    """
    # Imported here, as `--help` and a mistyped option should not wait for torch.
    from requestor.training import note_agreement, privacy_notice
    from requestor.training.run import open_run

    run, progress = open_run(options)
    with closing(run.folder):
        if (notice := privacy_notice(run.config, run.folder)) is not None:
            ask_about_privacy(notice, yes)
            note_agreement(run.folder)
        if options.backend == "golem" and not yes:
            confirm_real_money(run.config.network, options.budget)
        with progress:
            summary = asyncio.run(_with_signals(run, progress))
    convert_for_scoring(Path(summary["model"]))
    click.echo(json.dumps(summary) if as_json else _for_people(summary))
    if summary["worse_than_constant"]:
        click.echo(
            "WARNING: the model is worse than predicting the average rating for every photo. Do not use it: train on "
            "more photos, or check that AVA.txt has the ratings of these photos.",
            err=True,
        )
        sys.exit(EXIT_WORSE_THAN_CONSTANT)


def _show_estimate(options: TrainOptions, as_json: bool) -> None:
    from requestor.training import Assumptions, estimate_lines, estimate_run, market_assumptions

    assumptions = market_assumptions(options) if options.backend == "golem" else Assumptions()
    found = estimate_run(options, assumptions)
    if as_json:
        click.echo(json.dumps(found.as_json()))
    else:
        click.echo("\n".join(estimate_lines(found, options.budget)))


async def _with_signals(run: TrainingRun, progress: RunProgress) -> dict[str, Any]:
    """Runs until the end or a signal, and returns the summary.

    The first Ctrl-C ends the run after its round, or after the next features of a shard; if no provider is hired, it
    ends the run at once. In every case, the run ends its agreements and waits for bills.
    """

    def stop() -> str | None:
        return _WORTH_WAITING_FOR.get(progress.doing, "the current step") if run.stop() else None

    return await run_until_stopped(
        run.run(), stop, "The run is stopped; the same command goes on from there.", ENDING_AGREEMENTS
    )


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
        *_validation_for_people(summary.get("cross_validation")),
        _rounds_for_people(summary),
        f"Spent {summary['spent_glm']:.6f} of {summary['budget_glm']:g} GLM in {summary['seconds']:.0f} s:",
        "",
    ]
    columns = (Column("provider", if_narrow="cut end"), Column("tasks", "right"), Column("accepted GLM", "right"))
    rows = [[paid["name"], str(paid["tasks"]), f"{paid['paid_glm']:.6f}"] for paid in summary["providers"]]
    if "srcc_std" in metrics:  # runs of older versions do not have it
        lines.insert(
            3, f"  SRCC of the spread (how much raters disagree): {metrics['srcc_std']:.3f} {between('srcc_std')}"
        )
    lines += [
        *table_lines(columns, rows, terminal_width()),
        *(str(summary[name]) for name in ("payments", "open_bills") if summary.get(name)),
        "",
        f"Model:  {summary['model']}",
        f"Report: {Path(summary['model']).with_name('report.html')}",
    ]
    return "\n".join(lines)


def _validation_for_people(validation: dict[str, Any] | None) -> list[str]:
    if validation is None:
        return []
    metrics, intervals = validation["metrics"], validation["intervals"]
    figures = [
        f"{name} {metrics[key]:.3f} ({intervals[key][0]:.3f} … {intervals[key][1]:.3f})"
        for name, key in (("SRCC", "srcc_mean"), ("LCC", "lcc_mean"), ("EMD", "emd_r1"))
    ]
    return [
        f"So few test photos say little. All {metrics['n']} photos, each predicted by a head that was trained without "
        f"its fold ({validation['folds']} folds):",
        f"  {', '.join(figures)}; EMD of a constant: {metrics['constant_emd_r1']:.3f}",
    ]


def _rounds_for_people(summary: dict[str, Any]) -> str:
    rounds, reason = summary["rounds"], END_REASONS.get(summary["ended_because"], "")
    if not rounds:
        return f"Strategy {summary['strategy']}, no rounds."
    best = "the head before any round" if summary["best_round"] == 0 else f"round {summary['best_round']}"
    return f"Strategy {summary['strategy']}, {rounds} round{'' if rounds == 1 else 's'} ({reason}); the best is {best}."
