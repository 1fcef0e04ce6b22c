"""Tells what a run was: its dates, version, data and command, why it ended, and where its results are."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nima.ava import Dataset
from nima.safe_io import one_line
from requestor.records import RunRecord

# Results in a run's folder, to which the page links.
_RESULTS = {
    "model.safetensors": "the model",
    "MODEL_CARD.md": "its card",
    "predictions.csv": "predictions of the test photos",
    "receipt.json": "the receipt",
}
# Options that the command does not take: what the page and the folder say already.
_UNUSED = {"run_dir"}


@dataclass(frozen=True)
class About:
    """Facts about a run.

    facts: name and value of each fact, in order.
    links: file in the run's folder and its name for people, of each result that exists.
    """

    facts: list[tuple[str, str]]
    links: list[tuple[str, str]]


def about_run(folder: Path, record: RunRecord, dataset: Dataset) -> About:
    """Collects the facts about the run in a folder; facts that an earlier version did not record are left out."""
    facts = [("Data", dataset.name), ("Rated by", dataset.raters)]
    if began := record.identity.get("began"):
        facts.append(("Began", f"{one_line(str(began), 19).replace('T', ' ')} UTC"))
    if version := record.identity.get("version"):
        facts.append(("Made by", f"nima-golem {one_line(str(version), 40)}"))
    if record.ended_because:
        facts.append(("The training ended because", record.ended_because))
    if record.evaluation is not None and record.evaluation.get("audited") is not None:
        facts.append(("Predictions computed again here", f"{record.evaluation['audited']:,}, all equal"))
    if record.options:
        facts.append(("Command", command_line(record.options)))
    return About(facts, [(name, said) for name, said in _RESULTS.items() if (folder / name).is_file()])


def command_line(options: Mapping[str, Any]) -> str:
    """Returns the `nima-golem train` command with the options of a run that are set.

    Example:
        >>> command_line({"ava": "/data/my trees", "budget": "2", "rounds": None, "max_price": "1"})
        "nima-golem train --ava '/data/my trees' --budget 2GLM --max-price 1GLM"
    """
    words = ["nima-golem", "train"]
    for name, value in options.items():
        if value is not None and name not in _UNUSED:
            unit = "GLM" if name in ("budget", "max_price") else ""
            words += [f"--{name.replace('_', '-')}", f"{one_line(str(value))}{unit}"]
    return shlex.join(words)
