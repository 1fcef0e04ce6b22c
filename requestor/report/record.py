"""What a report is made of: what the files of a run's folder say, whatever the run has come to."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nima import checkpoint
from nima.ava import read_ratings
from nima.distribution import normalise
from nima.prediction_table import read_prediction_table
from requestor.budget import Price
from requestor.errors import RunFolderError
from requestor.ledger import Receipt
from requestor.round_record import RoundEntry, latest
from requestor.run_dir import RunFiles


@dataclass(frozen=True)
class Hire:
    """The terms that a provider works on."""

    price: Price
    threads: int


@dataclass(frozen=True)
class RunRecord:
    """One run.

    Attributes:
        identity: what the run is (`run.json`); options: of its last command.
        attempts: lines of `metrics.jsonl`, of rounds done again all.
        rounds: the last of each round, in order.
        receipts: by provider, so far; hires: by provider id, the last terms.
        rejected: GLM of the bills that were rejected, by provider id.
        evaluation: `metrics` and `intervals` on the test photos; None before them.
        model: metadata of the finished model; None before it.
        seconds: that the run has taken; 0 while its first process works.
    """

    identity: dict[str, Any]
    options: dict[str, Any]
    attempts: list[RoundEntry]
    rounds: list[RoundEntry]
    receipts: list[Receipt]
    hires: dict[str, Hire]
    rejected: dict[str, Decimal]
    evaluation: dict[str, Any] | None
    model: dict[str, Any] | None
    seconds: float

    @property
    def rounds_done(self) -> int:
        """The number of the last round that moved the model."""
        return max((entry.round for entry in self.rounds if entry.moved), default=0)

    @property
    def spent(self) -> Decimal:
        return sum((receipt.paid_glm for receipt in self.receipts), Decimal(0))

    @property
    def budget(self) -> Decimal | None:
        return Decimal(self.options["budget"]) if self.options.get("budget") else None


def read_run(folder: Path) -> RunRecord:
    """Raises RunFolderError where the folder holds no training run, or a file of it is damaged."""
    files = RunFiles(folder)
    identity = files.read("run.json")
    if identity is None or "rounds" not in identity:
        raise RunFolderError(f"{folder} holds no training run; see `nima-golem runs list`.")
    attempts = list(files.attempts())
    receipt = files.read("receipt.json")
    model = folder / "model.safetensors"
    return RunRecord(
        identity=identity,
        options=files.read("options.json") or {},
        attempts=attempts,
        rounds=latest(attempts),
        # Local workers have no ledger, and their receipts come with the end.
        receipts=[_receipt(entry) for entry in receipt["providers"]] if receipt else files.ledger.receipts(),
        hires={
            entry["provider"]: Hire(Price.from_text(entry["price"]), entry["threads"])
            for entry in files.ledger.entries()
            if entry["event"] == "agreement"
        },
        rejected=files.ledger.rejected_bills(),
        evaluation=files.read("evaluation.json"),
        model=checkpoint.read_metadata(model) if model.exists() else None,
        seconds=(files.read("state.json") or {}).get("seconds", 0.0),
    )


@dataclass(frozen=True)
class Tested:
    """The test photos: ids int64 `[n]`, distributions as predicted and as rated `[n, 10]`, and the AVA folder."""

    image_ids: NDArray[np.int64]
    predicted: NDArray[np.float64]
    rated: NDArray[np.float64]
    ava: Path


def read_tested(folder: Path, ava: Path) -> Tested:
    """Predictions from the run's folder, ratings from AVA's list.

    Raises NimaError where either is missing or malformed.
    """
    table = read_prediction_table(folder / "predictions.csv")
    votes = read_ratings(ava).select(table.image_ids).votes
    return Tested(table.image_ids, normalise(table.probabilities), normalise(votes), ava)


def _receipt(entry: dict[str, Any]) -> Receipt:
    return Receipt(**{**entry, "paid_glm": Decimal(entry["paid_glm"])})
