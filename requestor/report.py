"""The HTML report of a run: one self-contained page with its result, its curves and who was paid what."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from nima.files import write_atomically
from requestor.ledger import Receipt

_PAGE = Template("""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>nima-golem: $title</title>
<style>
  :root { color-scheme: light dark; --line: #2a78d6; --soft: #8884; }
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; }
  h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
  .figures { display: flex; flex-wrap: wrap; gap: 1rem; }
  .figures div { flex: 1 1 8rem; border: 1px solid var(--soft); border-radius: .5rem; padding: .6rem .8rem; }
  .figures b { display: block; font-size: 1.4rem; } .figures small { opacity: .7; }
  table { border-collapse: collapse; width: 100%; display: block; overflow-x: auto; }
  td, th { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid var(--soft); }
  td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
  svg { width: 100%; height: auto; } svg text { font-size: 11px; fill: currentColor; }
  svg .curve { fill: none; stroke: var(--line); stroke-width: 2; } svg .axis { stroke: var(--soft); }
  svg .constant { stroke: currentColor; stroke-dasharray: 4 4; opacity: .6; }
</style>
<h1>$title</h1>
<p>$sentence</p>
<div class="figures">$figures</div>
<h2>Hold-out SRCC after each round (0: the head, trained on features)</h2>
$srcc
<h2>Hold-out EMD after each round (dashed: always predicting the average)</h2>
$emd
<h2>Providers</h2>
$providers
<h2>Updates</h2>
$updates
""")


def write_report(
    path: Path, summary: dict[str, Any], metrics: list[dict[str, Any]], receipts: Sequence[Receipt]
) -> None:
    """Write the page. `summary` as `--json` prints it, `metrics` the lines of metrics.jsonl."""
    test = summary["metrics"]
    rounds = [entry for entry in metrics if "holdout" in entry]
    figures = {
        "SRCC on test": f"{test['srcc']:.3f}",
        "EMD on test": f"{test['emd_r1']:.4f}",
        "EMD of a constant": f"{test['constant_emd_r1']:.4f}",
        "GLM spent": f"{summary['spent_glm']:.6f}",
        "of a budget of": f"{summary['budget_glm']:g}",
    }
    page = _PAGE.substitute(
        title=escape(_title(summary)),
        sentence=escape(
            f"Trained with the {summary['backend']} backend and --strategy {summary['strategy']} "
            f"in {summary['seconds']:.0f} s; "
            f"tested on {test['n']} photos that no provider trained on."
        ),
        figures="".join(f"<div><b>{escape(v)}</b><small>{escape(k)}</small></div>" for k, v in figures.items()),
        srcc=_curve([(entry["round"], entry["holdout"]["srcc_mean"]) for entry in rounds]),
        emd=_curve(
            [(entry["round"], entry["holdout"]["emd_r1"]) for entry in rounds],
            rounds[0]["holdout"]["constant_emd_r1"] if rounds else None,
        ),
        providers=_table(
            ("Provider", "Agreements", "Tasks", "Paid, GLM"),
            [(r.name, r.agreements, r.tasks, str(r.paid_glm)) for r in receipts],
        ),
        updates=_table(
            ("Round", "Provider", "Verdict", "Loss", "Seconds"),
            [
                (entry["round"], u["provider"] or "–", u["verdict"], _loss(u["loss"]), u["seconds"])
                for entry in metrics
                for u in entry["updates"]
            ],
        ),
    )  # fmt: skip
    write_atomically(path, page.encode())


def _title(summary: dict[str, Any]) -> str:
    rounds = summary["rounds"]
    return f"A NIMA model after {rounds} round{'' if rounds == 1 else 's'}" if rounds else "A NIMA model"


def _loss(loss: float | None) -> str:
    return "–" if loss is None else f"{loss:.4f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    def row(cells: Sequence[object], tag: str) -> str:
        kind = [' class="number"' if index and not isinstance(cell, str) else "" for index, cell in enumerate(cells)]
        return (
            "<tr>" + "".join(f"<{tag}{k}>{escape(str(c))}</{tag}>" for k, c in zip(kind, cells, strict=True)) + "</tr>"
        )

    return "<table>" + row(head, "th") + "".join(row(cells, "td") for cells in rows) + "</table>"


def _curve(points: Sequence[tuple[int, float]], constant: float | None = None) -> str:
    """A line chart as SVG; `constant` is a dashed line of comparison."""
    if not points:
        return "<p>No round moved the model.</p>"
    width, height, margin = 640, 200, 44
    values = [value for _, value in points] + ([] if constant is None else [constant])
    low, high = min(values), max(values)
    span, last = (high - low) or 1.0, max(points[-1][0] - points[0][0], 1)

    def x(number: int) -> float:
        return margin + (number - points[0][0]) / last * (width - 2 * margin)

    def y(value: float) -> float:
        return height - margin / 2 - (value - low) / span * (height - margin)

    path = " ".join(f"{x(number):.1f},{y(value):.1f}" for number, value in points)
    dots = "".join(
        f'<circle cx="{x(n):.1f}" cy="{y(v):.1f}" r="3" fill="var(--line)"><title>round {n}: {v:.4f}</title></circle>'
        for n, v in points
    )
    dashed = (
        f'<line class="constant" x1="{margin}" x2="{width - margin}" y1="{y(constant):.1f}" y2="{y(constant):.1f}"/>'
        if constant is not None
        else ""
    )
    labels = "".join(f'<text x="0" y="{y(v) + 4:.1f}">{v:.3f}</text>' for v in dict.fromkeys((low, high)))
    labels += "".join(
        f'<text x="{x(n):.1f}" y="{height - 2}" text-anchor="middle">{n}</text>'
        for n, _ in points[:: max(1, len(points) // 12)]
    )
    floor = height - margin / 2
    axis = f'<line class="axis" x1="{margin}" x2="{width - margin}" y1="{floor}" y2="{floor}"/>'
    curve = f'<polyline class="curve" points="{path}"/>'
    return f'<svg viewBox="0 0 {width} {height}" role="img">{axis}{dashed}{curve}{dots}{labels}</svg>'
