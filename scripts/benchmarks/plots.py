"""Makes a table and a plot of each benchmark's figures."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib

matplotlib.use("Agg")
from fault_matrix import TOLERANCE
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# The same figures give the same file: text is stored as text, and ids do not depend on chance.
matplotlib.rcParams.update({
    "svg.fonttype": "none", "svg.hashsalt": "nima-golem", "font.size": 9, "axes.spines.top": False,
    "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.3, "legend.frameon": False,
})  # fmt: skip

Figures = Mapping[str, Any]
WIRES = ("fp32", "fp16", "int8")
PARTS = ("negotiation", "deployment", "transfer", "program", "computing", "waiting")
_ROUNDS = re.compile(r"(\d+) rounds? of")
STAGES = ("plan", "admit (making the files not counted)", "aggregate: mean", "a whole round, simulated")


@dataclass(frozen=True)
class Table:
    """Holds a table of text cells; the first row is the header."""

    rows: Sequence[Sequence[str]]

    def for_people(self) -> str:
        """Returns the table as text with aligned columns."""
        widths = [max(len(row[column]) for row in self.rows) for column in range(len(self.rows[0]))]
        return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
                         for row in self.rows)  # fmt: skip

    def as_markdown(self) -> str:
        """Returns the table as Markdown."""
        header, *rows = ("| " + " | ".join(row) + " |" for row in self.rows)
        return "\n".join([header, "|---" * len(self.rows[0]) + "|", *rows])


def federated_table(figures: Figures) -> Table:
    by = {(gap["placement"], gap["clients"], gap["wire"]): gap for gap in figures["gaps"]}
    rows = [["photos", "clients", *(f"SRCC gap, {wire}" for wire in WIRES), "EMD gap, fp16", "bytes an update"]]
    for placement, clients in dict.fromkeys((key[0], key[1]) for key in by):
        gaps = [by[placement, clients, wire] for wire in WIRES]
        rows.append(
            [
                placement,
                str(clients),
                *(f"{gap['srcc_gap']:+.4f} ± {gap['srcc_error']:.4f}" for gap in gaps),
                f"{gaps[1]['emd_gap']:+.5f} ± {gaps[1]['emd_error']:.5f}",
                " / ".join(f"{gap['bytes']:,}" for gap in gaps),
            ]
        )
    return Table(rows)


def federated_plot(figures: Figures, figure: Figure) -> None:
    for axes, what, name in zip(_panels(figure, 2), ("srcc", "emd"), ("SRCC lost", "EMD gained"), strict=True):
        for placement, marker in (("iid", "o"), ("sorted", "s")):
            for wire, line in zip(WIRES, (":", "-", "--"), strict=True):
                gaps = [g for g in figures["gaps"] if (g["placement"], g["wire"]) == (placement, wire)]
                axes.errorbar(
                    [gap["clients"] for gap in gaps], [gap[f"{what}_gap"] for gap in gaps],
                    [gap[f"{what}_error"] for gap in gaps], label=f"{placement}, {wire}", linestyle=line,
                    marker=marker, markersize=3, color="C0" if placement == "iid" else "C1", capsize=2,
                )  # fmt: skip
        axes.set_xscale("log", base=2)
        axes.set_xticks(sorted({gap["clients"] for gap in figures["gaps"]}))
        axes.xaxis.set_major_formatter("{x:.0f}")
        axes.axhline(0, color="black", linewidth=0.8)
        axes.set(xlabel="clients", title=f"{name} by training apart")
    figure.axes[0].legend(fontsize=7)


def updates_table(figures: Figures) -> Table:
    rows = [["updates", "SRCC gap", "EMD gap", "bytes an update"]]
    for gap in figures["gaps"]:
        found = [f"{gap[f'{name}_gap']:+.5f} ± {gap[f'{name}_error']:.5f}" for name in ("srcc", "emd")]
        rows.append([gap["wire"], *found, f"{gap['bytes']:,}"])
    return Table(rows)


def updates_plot(figures: Figures, figure: Figure) -> None:
    names = [gap["wire"] for gap in figures["gaps"]]
    for axes, what, name in zip(_panels(figure, 2), ("srcc", "emd"), ("SRCC lost", "EMD gained"), strict=True):
        values = [[gap[f"{what}_{part}"] for gap in figures["gaps"]] for part in ("gap", "error")]
        axes.errorbar(names, values[0], values[1], marker="o", linestyle="", capsize=3)
        axes.axhline(0, color="black", linewidth=0.8)
        axes.set(title=f"{name} by training apart")


def golem_table(figures: Figures) -> Table:
    golem, plain = figures["golem"], figures["subprocesses"]
    rows = [["", "Golem", "subprocesses", "ratio"]]
    rows.append(_ratio_row("rounds, wall-clock", sum(golem["rounds"]), sum(plain["rounds"])))
    rows += [_ratio_row(f"a provider: {part}", golem["provider"][part], plain["provider"][part]) for part in PARTS]
    for one in figures["traffic"]:
        for way in ("sent", "received"):
            each = ", ".join(f"{value / 1e6:.2f}" for value in one[way].values())
            rows.append(
                [
                    f"round {one['round']}: {way}, MB by provider",
                    each,
                    "",
                    f"{one[f'{way}_over_least']:.3f} of the least",
                ]
            )
        rows.append([f"round {one['round']}: upload at 20 Mbit/s", f"{one['seconds_at_20_mbit']:.0f} s", "", ""])
    return Table(rows)


def golem_plot(figures: Figures, figure: Figure) -> None:
    axes = figure.add_subplot()
    lefts = [0.0, 0.0]
    for part in PARTS:
        seconds = [figures[way]["provider"][part] for way in ("subprocesses", "golem")]
        axes.barh(["subprocesses", "Golem"], seconds, left=lefts, label=part)
        lefts = [left + one for left, one in zip(lefts, seconds, strict=True)]
    axes.set(xlabel="seconds of a provider, from the start to the end of the last round")
    axes.legend(ncols=len(PARTS), loc="lower center", bbox_to_anchor=(0.5, 1.0), fontsize=7)


def robustness_table(figures: Figures) -> Table:
    counts = sorted({row["hostile"] for row in figures["rows"]})
    providers = figures["providers"]
    rows = [["fault", *(f"{count} of {providers}: with / without" for count in counts)]]
    rows.append(["none", _pair(figures["honest"]), *([""] * (len(counts) - 1))])
    for fault in dict.fromkeys(row["fault"] for row in figures["rows"]):
        rows.append([fault, *(_pair(row) for row in figures["rows"] if row["fault"] == fault)])
    if figures["honest_features"]:
        rows.append(["none, embedding", _pair(figures["honest_features"]), *([""] * (len(counts) - 1))])
    return Table(rows)


def robustness_plot(figures: Figures, figure: Figure) -> None:
    for axes, way, name in zip(_panels(figure, 2), ("admitted", "averaged"), ("with", "without"), strict=True):
        axes.set_prop_cycle(color=matplotlib.colormaps["tab20"].colors)  # type: ignore[attr-defined]
        for fault in dict.fromkeys(row["fault"] for row in figures["rows"]):
            rows = [row for row in figures["rows"] if row["fault"] == fault]
            honest = figures["honest_features" if fault == "bad-features" else "honest"]
            axes.plot(
                [0, *(100 * row["hostile"] / figures["providers"] for row in rows)],
                [honest[way]["srcc"], *(row[way]["srcc"] for row in rows)], marker="o", markersize=3, label=fault,
            )  # fmt: skip
        axes.set(xlabel="hostile providers, %", title=f"test SRCC {name} admission", ylim=(-1.0, 1.0))
    figure.axes[1].legend(fontsize=7, ncols=2)


def attacks_table(figures: Figures) -> Table:
    """Returns the table of the attacks: what is lost of the SRCC, the patched photos' shift, and the bans."""
    rules = figures["rules"]
    forms = ("throughout", "one tenth")
    heading = ["attack", "attackers", "hold-out", *(f"SRCC lost, {form}" for form in forms), "patched photos move by"]
    rows = [[*heading, "honest banned", "attackers banned", *(f"SRCC, {rule}" for rule in rules)]]
    for row in figures["rows"]:
        known = [row[form] for form in forms if form in row]
        lost = [
            f"{row[form]['lost']:+.3f} (most {row[form]['most_lost']:+.3f})" if form in row else "" for form in forms
        ]
        rows.append([
            row["attack"], f"{row['hostile']} of {figures['clients']}", str(row["holdout"]), *lost,
            " / ".join(f"{one['patched']:+.2f}" for one in known), str(sum(one["honest_banned"] for one in known)),
            " / ".join(str(one["hostile_banned"]) for one in known), *(f"{row[rule]:.3f}" for rule in rules),
        ])  # fmt: skip
    return Table(rows)


def attacks_plot(figures: Figures, figure: Figure) -> None:
    """Draws what each attack costs with most attackers, in both forms, and under each rule of the literature."""
    (axes,) = _panels(figure, 1)
    most, largest = (max(row[key] for row in figures["rows"]) for key in ("hostile", "holdout"))
    rows = [row for row in figures["rows"] if row["hostile"] == most and row["holdout"] == largest]
    names = [row["attack"] for row in rows]
    for form in ("throughout", "one tenth"):
        kept = [row.get(form, row["throughout"])["srcc"] for row in rows]
        axes.plot(names, kept, marker="o", markersize=4, label=f"admission, {form}")
    for rule in figures["rules"]:
        axes.plot(names, [row[rule] for row in rows], linewidth=0.7, marker=".", label=rule)
    axes.set(title=f"test SRCC, {most} of {figures['clients']} attack")
    axes.tick_params(axis="x", labelrotation=90, labelsize=7)
    axes.legend(fontsize=7, ncols=2)


def faults_table(figures: Figures) -> Table:
    rows = [[
        "fault", "test SRCC", "beside honest", "good", "honest providers' updates", "hostile ones'",
        "paid to the hostile, GLM", "paid in all, GLM", "seconds",
    ]]  # fmt: skip
    for row in figures["rows"]:
        verdicts = (
            ", ".join(f"{count} {verdict}" for verdict, count in sorted(row[whose].items())) or "none"
            for whose in ("others", "hostile")
        )
        srcc = ["", ""] if row["srcc"] is None else [f"{row['srcc']:.4f}", f"{_change(figures, row):+.4f}"]
        paid = (f"{float(row[key]):.4f}" for key in ("paid_to_hostile_glm", "paid_glm"))
        rows.append([row["fault"], *srcc, "yes" if row["good"] else "no", *verdicts, *paid, f"{row['seconds']:.0f}"])
    return Table(rows)


def faults_plot(figures: Figures, figure: Figure) -> None:
    rows = [row for row in figures["rows"] if row["srcc"] is not None]
    axes = figure.add_subplot()
    axes.bar([row["fault"] for row in rows], [_change(figures, row) for row in rows])
    axes.axhline(-TOLERANCE, color="black", linewidth=0.8, linestyle="--")
    axes.tick_params(axis="x", rotation=60)
    axes.set(ylabel="test SRCC beside honest")


def _change(figures: Figures, row: Figures) -> float:
    """Returns the difference of the SRCC from the honest training with which the row is compared."""
    honest = next(other for other in figures["rows"] if other["fault"] == row["beside"])
    return float(row["srcc"] - honest["srcc"])


def score_table(figures: Figures) -> Table:
    rows = [["", "photos a second", "core ms a photo"]]
    rows += [
        [name.replace("_", " "), f"{rate:.1f}", f"{figures['core_milliseconds'][name]:.1f}"]
        for name, rate in figures["per_second"].items()
    ]
    ratios = [(name, value) for name, value in figures.items() if isinstance(value, float)]
    rows += [[f"scoring: {name.replace('_', ' ')}", f"{value:.3f}", ""] for name, value in ratios]
    rows.append(["peak memory", f"{figures['peak_memory_mb']} MB", ""])
    return Table(rows)


def score_plot(figures: Figures, figure: Figure) -> None:
    rates = figures["per_second"]
    _bars(figure, [name.replace("_", " ") for name in rates], list(rates.values()), "photos a second")


def rounds_table(figures: Figures) -> Table:
    rows = [["stage", "of", "clients or photos", "seconds", "MB"]]
    for row in figures["stages"]:
        many = row.get("clients", row.get("photos", row.get("rows", "")))
        rows.append([
            row["stage"], row.get("size", ""), f"{many:,}", f"{row['seconds']:.3f}", f"{row['megabytes']:.0f}",
        ])  # fmt: skip
    return Table(rows)


def rounds_plot(figures: Figures, figure: Figure) -> None:
    sizes = list(dict.fromkeys(row["size"] for row in figures["stages"] if "clients" in row))
    for axes, size in zip(_panels(figure, len(sizes)), sizes, strict=True):
        for stage in STAGES:
            rows = [row for row in figures["stages"] if row["stage"] == stage and row.get("size") == size]
            axes.plot(
                [row["clients"] for row in rows], [row["seconds"] for row in rows], marker="o", markersize=3,
                label=stage.partition(" (")[0],
            )  # fmt: skip
        axes.set(xscale="log", yscale="log", xlabel="clients", ylabel="seconds", title=f"updates of a {size}")
    figure.axes[0].legend(fontsize=7)


def gftp_table(figures: Figures) -> Table:
    bare = figures["socket_mb_per_s"]
    rows = [["chunks as of", "down, MB/s", "up, MB/s", "down, of a socket", "up, of a socket"]]
    for name, ways in figures["mb_per_s"].items():
        speeds = ways["down"], ways["up"]
        rows.append([name, *(f"{speed:.0f}" for speed in speeds), *(f"{speed / bare:.3f}" for speed in speeds)])
    return Table([*rows, ["bare TCP socket", f"{bare:.0f}", f"{bare:.0f}", "1", "1"]])


def gftp_plot(figures: Figures, figure: Figure) -> None:
    names = [f"{name}, {way}" for name in figures["mb_per_s"] for way in ("down", "up")]
    speeds = [speed for ways in figures["mb_per_s"].values() for speed in (ways["down"], ways["up"])]
    _bars(figure, names, [speed / figures["socket_mb_per_s"] for speed in speeds], "of a bare TCP socket's speed")


def cold_start_table(figures: Figures) -> Table:
    rows = [["", "CPU seconds", "of import torch alone"]]
    bare = figures["import_torch_s"]
    stages = {**figures["stages_s"], "until the first batch": figures["until_first_batch_s"]}
    rows += [[name, f"{seconds:.3f}", f"{seconds / bare:.2f}"] for name, seconds in stages.items()]
    return Table(rows)


def cold_start_plot(figures: Figures, figure: Figure) -> None:
    stages = figures["stages_s"]
    shares = [seconds / figures["import_torch_s"] for seconds in stages.values()]
    _bars(figure, list(stages), shares, "of the CPU time of import torch alone")


def strategies_table(figures: Figures) -> Table:
    rows = [["strategy", "test SRCC", "test EMD", "core seconds", "MB up", "MB down", "GLM"]]
    for row in figures["strategies"]:
        rows.append([
            row["strategy"], f"{row['srcc']:.3f} ± {row['srcc_error']:.3f}", f"{row['emd']:.4f}",
            f"{row['core_seconds']:.0f}", f"{row['up'] / 1e6:.1f}", f"{row['down'] / 1e6:.1f}", f"{row['glm']:.5f}",
        ])  # fmt: skip
    return Table(rows)


def strategies_plot(figures: Figures, figure: Figure) -> None:
    """Draws a line for each way of training that goes on over rounds; each point is a number of rounds."""
    axes = figure.add_subplot()
    lines: dict[str, list[Figures]] = {}
    for row in figures["strategies"]:
        what = _ROUNDS.sub("rounds of", row["strategy"])
        lines.setdefault("embed + head, then rounds" if what.startswith("embed") else what, []).append(row)
    for what, rows in lines.items():
        cost, srcc = [row["glm"] for row in rows], [row["srcc"] for row in rows]
        axes.errorbar(cost, srcc, [row["srcc_error"] for row in rows], marker="o", capsize=2, label=what)
        for row in rows:
            rounds = _ROUNDS.search(row["strategy"])
            axes.annotate(
                rounds.group(1) if rounds else "0", (row["glm"], row["srcc"]), (4, 4), textcoords="offset points"
            )
    axes.set(xlabel="GLM, waiting not counted; at each point the number of rounds", ylabel="test SRCC")
    axes.legend(fontsize=7)


def memory_table(figures: Figures) -> Table:
    rows = [["photos", "stage", "seconds", "its part", "laptop, MB", "provider, MB"]]
    for run in figures["runs"]:
        share = f"{run['explained']:.0%} of the time"
        memory = [f"{run[f'{place}_mb']:.0f}" for place in ("laptop", "provider")]
        rows.append([f"{run['photos']:,}", "all", f"{run['seconds']:.0f}", share, *memory])
        rows += [
            ["", stage["name"], f"{stage['seconds']:.1f}", f"{stage['part']:.1f}", f"{stage['laptop_mb']:.0f}",
             f"{stage['provider_mb']:.0f}" if stage["provider_mb"] else ""]
            for stage in run["stages"]
        ]  # fmt: skip
    return Table(rows)


def memory_plot(figures: Figures, figure: Figure) -> None:
    axes = figure.add_subplot()
    for place in ("laptop", "provider"):
        memory = [run[f"{place}_mb"] for run in figures["runs"]]
        axes.plot([run["photos"] for run in figures["runs"]], memory, marker="o", label=place)
    axes.set(xscale="log", xlabel="photos", ylabel="largest resident memory, MB", ylim=(0, None))
    axes.legend()


def _panels(figure: Figure, count: int) -> list[Axes]:
    return [figure.add_subplot(1, count, number) for number in range(1, count + 1)]


def _bars(figure: Figure, names: Sequence[str], values: Sequence[float], what: str) -> None:
    axes = figure.add_subplot()
    bars = axes.barh(list(names)[::-1], list(values)[::-1], color="C0")
    axes.bar_label(bars, fmt="%.3g", padding=3)
    axes.set(xlabel=what)


def _pair(row: Figures) -> str:
    return f"{row['admitted']['srcc']:.3f} / {row['averaged']['srcc']:.3f}"


def _ratio_row(name: str, ours: float, theirs: float) -> list[str]:
    return [name, f"{ours:.1f} s", f"{theirs:.1f} s", f"{ours / theirs:.3f}" if theirs >= 0.1 else ""]
