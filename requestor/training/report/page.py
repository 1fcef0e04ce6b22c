"""Writes the page of the report, with everything that is known from a run's folder, the most important first."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from jinja2 import Environment
from markupsafe import Markup

from nima.ava import Dataset
from nima.errors import NimaError
from nima.model import card_facts, model_limits
from nima.ratings import confusion_counts, metric_rows
from nima.safe_io import one_line, write_atomically
from requestor.html_templates import inline_sources, templates_of
from requestor.money import show_glm
from requestor.records import RunRecord, read_run_record
from requestor.terminal import show_duration
from requestor.training.report.about import about_run
from requestor.training.report.charts import Point, Series, line_chart
from requestor.training.report.heat_map import heat_map
from requestor.training.report.photos import gallery
from requestor.training.report.providers import provider_rows, refusals
from requestor.training.report.record import Tested, read_tested

SHOWN_PROVIDERS = 100  # a page for people must not get too long; all providers are in receipt.json
SHOWN_REFUSALS = 100  # all refusals are in metrics.jsonl
SHOWN_VERDICTS = 30  # marks for each provider, of its latest outcomes
_FILE = "report.html"


@dataclass(frozen=True)
class Tile:
    """One figure, its name, and a note for comparison."""

    name: str
    value: str
    note: str


@dataclass(frozen=True)
class Chart:
    """A drawing with its heading, and the names of its lines."""

    heading: str
    lines: list[str]
    drawing: Markup


def write_report(folder: Path) -> Path:
    """Writes `report.html` into a run's folder, from the other files there, and returns its path.

    If the run is not finished, the page shows what is known so far, and reloads itself once a minute.

    Raises:
        RunFolderError: the folder holds no training run, or a file of it is damaged.
    """
    record = read_run_record(folder)
    tested, missing = None, ""
    if record.evaluation is not None:
        try:
            tested = read_tested(folder, Path(record.identity["ava"]))
        except NimaError as error:
            missing = str(error)
    path = folder / _FILE
    write_atomically(path, render(record, folder, tested, missing).encode())
    return path


def render(record: RunRecord, folder: Path, tested: Tested | None, missing: str = "") -> str:
    """Renders the page as HTML.

    Args:
        record: everything that is known from the run's folder.
        folder: the run's folder, in which the page will be.
        tested: the test photos with their distributions; None before the evaluation, or if they cannot be read.
        missing: the reason why they cannot be read; empty otherwise.
    """
    dataset = Dataset(**record.data) if record.data else Dataset(Path(record.identity["ava"]).name)
    providers, refused = provider_rows(record), refusals(record)
    counts = None if tested is None else confusion_counts(tested.predicted, tested.rated)
    rows = metric_rows(record.evaluation["metrics"], record.evaluation["intervals"]) if record.evaluation else []
    environment = _environment()
    style = Markup("<style>{}</style>").format(Markup(environment.get_template("page.css").render()))
    return environment.get_template("page.html").render(
        style=style,
        style_sources=Markup(inline_sources(style, "style")),
        record=record,
        title=one_line(f"NIMA, {record.identity['backbone']}, trained on {dataset.name}"),
        dataset=dataset,
        about=about_run(folder, record, dataset),
        tiles=_tiles(record),
        budget=record.budget,
        paid=record.backend != "local",
        metrics={row.key: row for row in rows},
        test_images=record.evaluation["metrics"]["n"] if record.evaluation else 0,
        audited=record.evaluation.get("audited") if record.evaluation else None,
        constant=next((entry.holdout for entry in record.rounds if entry.holdout is not None), None),
        charts=_charts(record),
        cost=_cost(record),
        providers=providers[:SHOWN_PROVIDERS],
        more_providers=len(providers) - SHOWN_PROVIDERS,
        most_paid=max((row.paid for row in providers), default=Decimal(0)),
        shown_verdicts=SHOWN_VERDICTS,
        refused=refused[:SHOWN_REFUSALS],
        more_refused=len(refused) - SHOWN_REFUSALS,
        counts=counts,
        heat=None if counts is None else heat_map(counts),
        gallery=None if tested is None else gallery(tested),
        missing=missing,
        facts=card_facts(record.model or {}),
        limits=model_limits(record.model or {}),
    )  # fmt: skip


def _environment() -> Environment:
    environment = templates_of("requestor.training.report")
    environment.filters["glm"] = show_glm
    environment.filters["amount"] = _amount
    return environment


def _tiles(record: RunRecord) -> list[Tile]:
    """Returns the most important figures: on the test photos after the evaluation, on the hold-out before it."""
    held = [entry.holdout for entry in record.rounds if entry.holdout is not None]
    tiles = []
    if record.evaluation is not None:
        metrics, intervals = record.evaluation["metrics"], record.evaluation["intervals"]
        for name, key in (("SRCC on test", "srcc_mean"), ("SRCC of the spread", "srcc_std")):
            low, high = intervals[key]
            tiles.append(Tile(name, f"{metrics[key]:.3f}", f"95%: {low:.3f} … {high:.3f}"))
        tiles += [
            Tile("EMD on test", f"{metrics['emd_r1']:.4f}", f"a constant: {metrics['constant_emd_r1']:.4f}"),
            Tile("Accuracy at 5", f"{metrics['accuracy']:.1%}", f"a constant: {metrics['constant_accuracy']:.1%}"),
        ]
    elif held:
        metrics = held[-1]
        tiles += [
            Tile("SRCC on the hold-out", f"{metrics['srcc_mean']:.3f}", f"{metrics['n']:,} photos"),
            Tile("EMD on the hold-out", f"{metrics['emd_r1']:.4f}", f"a constant: {metrics['constant_emd_r1']:.4f}"),
        ]
    time = show_duration(record.seconds) if record.seconds else ""
    tiles.append(Tile("Strategy", record.strategy, time))
    if record.rounds_done or record.wanted:
        done = str(record.rounds_done) if record.wanted is None else f"{record.rounds_done} of {record.wanted}"
        tiles.append(Tile("Rounds", done, record.ended_because or ""))
    if record.model is not None:
        tiles.append(Tile("Trained on", f"{record.model['train_images']:,}", "photos"))
    budget = f"of a budget of {_amount(record.budget)}" if record.budget else ""
    tiles.append(Tile("Spent, GLM", _amount(record.spent), budget))
    return tiles


def _charts(record: RunRecord) -> list[Chart]:
    """Draws the curves over the rounds; returns none if fewer than two rounds have metrics."""
    held = {entry.round: entry.holdout for entry in record.rounds if entry.holdout is not None}
    if len(held) < 2:
        return []
    first = next(iter(held.values()))

    def of(key: str) -> list[Point]:
        return [(number, metrics[key]) for number, metrics in held.items()]

    def chart(name: str, heading: str, lines: list[Series], digits: int, constant: float | None = None) -> Chart:
        drawing = line_chart(name, heading, lines, digits, constant)
        return Chart(heading, [line.name for line in lines if line.points], drawing)

    claimed = [(entry.round, entry.loss) for entry in record.rounds if entry.loss is not None]
    return [
        chart(
            "loss", "Loss: EMD, r = 2",
            [Series("hold-out", of("emd_r2")), Series("training, as providers say", claimed)],
            4, first["constant_emd_r2"],
        ),
        chart("emd", "EMD, r = 1", [Series("hold-out", of("emd_r1"))], 4, first["constant_emd_r1"]),
        chart(
            "correlation", "Correlation of the means",
            [Series("SRCC, hold-out", of("srcc_mean")), Series("LCC, hold-out", of("lcc_mean"))], 3,
        ),
    ]  # fmt: skip


def _cost(record: RunRecord) -> Markup | None:
    """Draws the GLM spent after each round, and in all.

    Returns None if nothing was spent, or if fewer than two rounds tell their costs.
    """
    spent = [(entry.round, entry.spent_glm) for entry in record.rounds if entry.spent_glm is not None]
    if len(spent) < 2 or not spent[-1][1]:
        return None
    if spent[0][0] == 1:
        spent = [(0, Decimal(0)), *spent]
    if record.evaluation is not None:  # the last bills come after the evaluation
        spent.append((spent[-1][0] + 1, record.spent))
    digits = max(0, 2 - spent[-1][1].adjusted())
    points = [(number, float(amount)) for number, amount in spent]
    return line_chart("cost", "GLM spent after each round, and in all", [Series("spent", points)], digits)


def _amount(glm: Decimal | str) -> str:
    """Writes an amount for a column whose heading says GLM."""
    return show_glm(Decimal(glm)).removesuffix(" GLM")
