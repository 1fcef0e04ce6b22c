"""Makes the table and the plot of the benchmark of tastes."""

from __future__ import annotations

from matplotlib.figure import Figure
from plots import Figures, Table


def taste_table(figures: Figures) -> Table:
    """Returns a row for each owner and number of ratings, and those of photos that `--next` proposes."""
    rows = [["owner's taste", "ratings", "SRCC of taste", "SRCC of the default model or of random photos", "saved"]]
    rows += [
        [row["owner"], f"{row['rated']:,}", _with_interval(row["taste"]), _with_interval(row["default"]), ""]
        for row in figures["owners"]
    ]
    for line in figures["next"]:
        for count, saved in line["saved"].items():
            place = line["rated"].index(int(count))
            figure, beside = _with_interval(line["proposed"][place]), _with_interval(line["random"][place])
            rows.append([f"{line['owner']}, with --next", count, figure, f"{beside}, random", f"{saved:+}"])
    return Table(rows)


def taste_plot(figures: Figures, figure: Figure) -> None:
    """Draws the rank correlations over the number of ratings, and the curves of proposed and random photos."""
    ranks, proposed = figure.subplots(1, 2)
    for number, owner in enumerate(dict.fromkeys(row["owner"] for row in figures["owners"])):
        rows = [row for row in figures["owners"] if row["owner"] == owner]
        counts = [row["rated"] for row in rows]
        ranks.errorbar(
            counts, [row["taste"]["mean"] for row in rows], [row["taste"]["interval"] for row in rows],
            marker="o", capsize=2, color=f"C{number}", label=owner,
        )  # fmt: skip
        ranks.plot(counts, [row["default"]["mean"] for row in rows], linestyle=":", color=f"C{number}")
    ranks.set(xscale="log", xlabel="rated photos", ylabel="SRCC on unseen photos", title="taste; dotted: default model")
    ranks.legend(fontsize=7)
    for number, line in enumerate(figures["next"]):
        for kind, style in (("proposed", "-"), ("random", "--")):
            means = [point["mean"] for point in line[kind]]
            label = f"{line['owner']}, {kind}"
            proposed.plot(line["rated"], means, style, color=f"C{number}", label=label)
    proposed.set(xlabel="rated photos", title="photos of --next, and at random")
    proposed.legend(fontsize=7)


def _with_interval(figure: Figures) -> str:
    return f"{figure['mean']:.3f} ± {figure['interval']:.3f}"
