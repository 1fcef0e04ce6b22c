"""Writes the page of all benchmarks from the stored figures, with a text that explains each."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import bench_plots as plots
from bench_plots import Figures, Table
from matplotlib.figure import Figure


@dataclass(frozen=True)
class Shown:
    """The presentation of a benchmark's figures. about: the text that explains them."""

    about: str
    table: Callable[[Figures], Table]
    draw: Callable[[Figures, Figure], None]


SHOWN = {
    "federated": Shown(
        "A gap is how much worse federated averaging of the head comes out than one machine that has all photos, "
        "with the same features, start and number of samples; the mean of the seeds, and its standard error. `iid`"
        " shuffles photos among clients, as `train` does; `sorted` gives each client those of similar ratings. "
        "`fp16` is what travels; `int8` is 255 steps between a tensor's extremes, and only measured here.",
        plots.federated_table, plots.federated_plot,
    ),
    "golem": Shown(
        "The same rounds on a devnet and as plain subprocesses. The ratio of the rounds is what Golem costs in "
        "time: at most 1.10 is the goal for rounds of a minute or longer; hiring comes before the first round and "
        "is shown as `negotiation` and `deployment`. The least that can travel is each shard and base model once, "
        "and weights out and updates back, 2 bytes a value, in every round.",
        plots.golem_table, plots.golem_plot,
    ),
    "robustness": Shown(
        "Test SRCC after federated rounds of the head with so many of eight providers hostile, with admission as "
        "`train` has it, and without: plain federated averaging of whatever can be read. Means of the seeds. "
        "`silent` stands for crash, hang, drop and refuse, which are the same to a round; `slow` and `overcharge` "
        "send honest updates; `bad-features` is of the embedding, with and without the spot check. A model of NaN "
        "counts as 0. What each fault does on a devnet, with real daemons and bills, comes next.",
        plots.robustness_table, plots.robustness_plot,
    ),
    "faults": Shown(
        "One training on a devnet for each kind of fault, real daemons and a real chain, with the verdicts on the "
        "updates that came, and what was paid. `bad-features` is held against an embedding with honest providers, the"
        " others against honest rounds. `good`: it ended by itself, with a test SRCC no more than 0.02 below the "
        "honest one's, and the wallet was charged to the last digit what the ledger says, within the budget. Kinds "
        "that have a result are not run again: the seconds below are those of the last call alone.",
        plots.faults_table, plots.faults_plot,
    ),
    "strategies": Shown(
        "What each strategy reaches and costs with four providers, on tiny-AVA; [strategies.md](../strategies.md) "
        "says what to make of it. Core seconds are those of the provider programs, GLM what yagna's suggested "
        "prices make of them, waiting not counted. The error is the standard error over the seeds.",
        plots.strategies_table, plots.strategies_plot,
    ),
    "score": Shown(
        "`score` with idealo's MobileNet on drawn photos of 12 megapixels, against decoding alone, the network "
        "alone, and what both can do together on the same cores, measured in turn. `of the shared cores` is the "
        "share of that limit which is reached; the limit of the slower part alone can only be reached where the "
        "network runs elsewhere. The plain loop is what most programs of others do: Pillow decodes one photo at a "
        "time, whole, and the same network sees it alone.",
        plots.score_table, plots.score_plot,
    ),
    "score-onnx": Shown(
        "The same with `--runtime onnx`: the network by ONNX Runtime instead of PyTorch, in the plain loop, too.",
        plots.score_table, plots.score_plot,
    ),
    "rounds": Shown(
        "The requestor's own part of a round, nobody trains here: time, and memory above what the process had. "
        "`head` and `mobilenet_v2` are the sizes of the updates. The id list has AVA's 255,530 rows.",
        plots.rounds_table, plots.rounds_plot,
    ),
    "gftp": Shown(
        "One file between two real yagna daemons, both ways, against a bare TCP socket on the same machine, with "
        "the chunk sizes of our program and of Golem's own.",
        plots.gftp_table, plots.gftp_plot,
    ),
    "cold-start": Shown(
        "What a provider is paid for before it computes: CPU seconds of the program's start on one core, against "
        "those of `import torch` alone.",
        plots.cold_start_table, plots.cold_start_plot,
    ),
}  # fmt: skip


def plot(name: str, figures: Figures, path: Path) -> None:
    """Draws a benchmark's figures as an SVG file."""
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    SHOWN[name].draw(figures, figure)
    figure.savefig(path, metadata={"Date": None, "Creator": None})
    # matplotlib leaves spaces at the ends of lines; they are removed.
    path.write_text("\n".join(line.rstrip() for line in path.read_text().splitlines()) + "\n")


def page(folder: Path) -> str:
    """Returns the page of all results in a folder, as Markdown."""
    parts = [
        "# Benchmarks\n\n"
        "Made by `scripts/bench`, all of it: the table, the plot and this page come from the JSON file of each "
        "benchmark, which has every figure. `scripts/bench` lists them, `scripts/bench NAME` runs one and replaces"
        " what is here, `scripts/bench --quick NAME` shows in a minute that it runs. Figures that the machine's "
        "speed would decide are ratios within one run."
    ]
    for name, shown in SHOWN.items():
        path = folder / f"{name}.json"
        if not path.exists():
            continue
        result = json.loads(path.read_text())
        machine = ", ".join(f"{key} {value}" for key, value in result["machine"].items())
        parts.append(
            f"## {result['question']}\n\n{shown.about}\n\n![{name}]({name}.svg)\n\n"
            f"{shown.table(result['figures']).as_markdown()}\n\n"
            f"    scripts/bench {name}     # {result['command']}\n\n"
            f"{result['date']}, {result['seconds']:.0f} s; {machine}."
        )
    return "\n\n".join(parts) + "\n"
