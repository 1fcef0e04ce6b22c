"""Writes the page of all benchmarks from the stored figures, with a text that explains each."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import plots
import taste_plots
from matplotlib.figure import Figure
from plots import Figures, Table


@dataclass(frozen=True)
class Shown:
    """Describes how a benchmark's figures are shown. about: the text that explains them."""

    about: str
    table: Callable[[Figures], Table]
    draw: Callable[[Figures, Figure], None]


SHOWN = {
    "federated": Shown(
        "A gap tells how much worse federated averaging of the head is than one machine that has all photos, with "
        "the same features, start and number of samples. It is the mean of the seeds, with its standard error. `iid` "
        "shuffles photos among clients, as `train` does; `sorted` gives each client photos of similar ratings. `int8` "
        "is the format of `train`. The figures are older than its rounding at random, which is measured in the next "
        "table: their `int8` was rounded to the nearest of 255 steps between a tensor's extremes.",
        plots.federated_table, plots.federated_plot,
    ),
    "updates": Shown(
        "The same gaps, for the form in which updates travel alone: four clients and shuffled photos, five seeds, two "
        "rounds. `int8` is what `train` sends: a scale for each row of a tensor, and rounding up or down at random.",
        plots.updates_table, plots.updates_plot,
    ),
    "golem": Shown(
        "The same rounds run on a devnet and as plain subprocesses. The ratio of the rounds is Golem's cost in time; "
        "the goal is at most 1.10 for rounds of a minute or longer. Hiring comes before the first round and "
        "is shown as `negotiation` and `deployment`. The least that can travel is each shard and base model once, "
        "and in every round weights out, 2 bytes a value, and updates back (2 bytes when this was measured, 1 today).",
        plots.golem_table, plots.golem_plot,
    ),
    "robustness": Shown(
        "Test SRCC after federated rounds of the head with some of eight providers hostile. With admission is as in "
        "`train`; without is plain federated averaging of all that can be read. Figures are means of the seeds. "
        "`silent` stands for crash, hang, drop and refuse, which are the same for a round; `slow` and `overcharge` "
        "send honest updates; `bad-features` is of the embedding, with and without the spot check. A model of NaN "
        "counts as 0. What each fault does on a devnet, with real daemons and bills, comes next.",
        plots.robustness_table, plots.robustness_plot,
    ),
    "attacks": Shown(
        "Attackers who know the defence, among eight clients that train a head in three rounds: test SRCC that is lost "
        "beside the same training without them, mean and most over the seeds. `throughout`: the whole training is "
        "false, and a tenth of it, computed again, finds it. `one tenth`: only the last tenth is, which is found in "
        "one of ten rounds. `patched photos` are test photos with the backdoor's patch, whose mean score moves. Bans "
        "are those that hold beyond a run, summed over the seeds. The attackers answer first, last and mixed, by seed; "
        "no verdict depends on it. A tenth of the photos is held out. The rules of the literature see the same "
        "attacks, without admission, and are told how many attack.",
        plots.attacks_table, plots.attacks_plot,
    ),
    "attackers": Shown(
        "The same attacks by fewer and by more attackers, under admission alone, with a hold-out of 22 photos.",
        plots.attacks_table, plots.attacks_plot,
    ),
    "faults": Shown(
        "One training on a devnet for each kind of fault, with real daemons and a real chain, the verdicts on the "
        "updates, and the payments. `bad-features` is compared with an embedding with honest providers, the other "
        "faults with honest rounds. `good`: the training ended by itself, with a test SRCC no more than 0.02 below the "
        "honest one's, and the charge on the wallet equals the ledger's to the last digit, within the budget. Kinds "
        "that have a result are not run again: the seconds below are those of the last call alone.",
        plots.faults_table, plots.faults_plot,
    ),
    "strategies": Shown(
        "Quality and cost of each strategy with four providers, on tiny-AVA; [strategies.md](../strategies.md) "
        "explains the result. Core seconds are those of the provider programs; GLM are their cost at yagna's "
        "suggested prices, without waiting. The error is the standard error over the seeds.",
        plots.strategies_table, plots.strategies_plot,
    ),
    "score": Shown(
        "`score` with idealo's MobileNet on drawn photos of 12 megapixels, against decoding alone, the network "
        "alone, and the limit of both together on the same cores, measured in turn. `of the shared cores` is the "
        "share of that limit that is reached. The limit of the slower part alone can only be reached if the network "
        "runs elsewhere. The plain loop is what most other programs do: Pillow decodes one photo at a time, whole, "
        "and the same network scores it alone.",
        plots.score_table, plots.score_plot,
    ),
    "score-onnx": Shown(
        "The same with `--runtime onnx`: the network runs in ONNX Runtime instead of PyTorch, in the plain loop, too.",
        plots.score_table, plots.score_plot,
    ),
    "taste": Shown(
        "Rank correlation with the taste of owners that a program draws, on photos of tiny-AVA that they have not "
        "rated. One likes warm colours, one likes contrast, and one has the default model's own taste; their stars "
        "have noise of half the deviation of the taste. Figures are means of the seeds with 95% intervals. The last "
        "rows compare photos that `--next` proposes with photos at random, after as many ratings: `saved` is how many "
        "ratings fewer reach what those at random reach.",
        taste_plots.taste_table, taste_plots.taste_plot,
    ),
    "rounds": Shown(
        "The requestor's own part of a round, without any training: time, and memory above the process's own. "
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
    "memory": Shown(
        "Resident memory of the command on this machine and of the largest provider program, and the time of each "
        "stage, with the local backend. A stage's part is the time in which providers computed, divided by their "
        "number, or else its whole time; the rest is waiting. Only 600 photos are drawn. The others are made of them "
        "by cropping, mirroring and compressing again, so the quality of these models means nothing.",
        plots.memory_table, plots.memory_plot,
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
        "`scripts/bench` makes all of this: each table, each plot and this page come from the JSON file of a "
        "benchmark, which has every figure. `scripts/bench` lists the benchmarks, `scripts/bench NAME` runs one and "
        "replaces its result here, `scripts/bench --quick NAME` shows in a minute that it runs. Figures that depend "
        "on the machine's speed are ratios within one run."
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
