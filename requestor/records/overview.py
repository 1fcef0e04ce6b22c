"""Summarises the folder of a run without locking it: briefly for lists, or in full for a report."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

from nima.safe_io import one_line
from requestor.errors import RunFolderError
from requestor.records.folder import RunFiles
from requestor.records.ledger import Receipt
from requestor.records.round_record import RoundEntry, latest, read_amount
from requestor.records.state import END_REASONS

T = TypeVar("T")


@dataclass(frozen=True)
class RunState:
    """Summarises a run briefly, as `nima-golem runs` shows it.

    Attributes:
        run: path of the run's folder.
        state: "finished" or "not finished".
        strategy: name of the strategy; "?" if it is not recorded.
        rounds: number of rounds done and of all rounds, as in "2/4"; only the first if the number is not fixed.
        backend: backend of the last command; "?" if it is not recorded.
        spent_glm: GLM accepted for payment so far, as exact text.
        srcc: SRCC of the means on the test photos; None before the run is finished.
        report: path of the report; None if there is none.
        open_allocations: ids of allocations that were not released.
        open_agreements: ids of agreements that have not ended or are not billed yet.
    """

    run: str
    state: str
    strategy: str
    rounds: str
    backend: str
    spent_glm: str
    srcc: float | None
    report: str | None
    open_allocations: list[str]
    open_agreements: list[str]


def is_training_run(folder: Path) -> bool:
    """Returns True if a folder holds a training run; the folder of an evaluation holds none.

    Raises RunFolderError if its `run.json` cannot be read.
    """
    return _is_training(RunFiles(folder).read("run.json"))


def _checked(read: Callable[[Path], T]) -> Callable[[Path], T]:
    """Makes a function that reads a run's folder raise RunFolderError if a file has another structure."""

    @functools.wraps(read)
    def checked(folder: Path) -> T:
        try:
            return read(folder)
        except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            reason = one_line(f"{type(error).__name__}: {error}", 200)
            raise RunFolderError(
                f"A file in {folder} is damaged ({reason}): restore it, or choose another run."
            ) from error

    return checked


@_checked
def read_run_state(folder: Path) -> RunState:
    """Reads how far a run has come. Raises RunFolderError if the folder holds no run, or a file of it is damaged."""
    files = RunFiles(folder)
    _identity(files)
    options = files.options() or {}
    state, summary = files.read("state.json") or {"round": 0}, files.read("summary.json")
    wanted = state.get("wanted")
    return RunState(
        run=str(folder),
        state="finished" if summary else "not finished",
        strategy=str(options.get("strategy", "?")),
        rounds=str(state["round"]) if wanted is None else f"{state['round']}/{wanted}",
        backend=str(options.get("backend", "?")),
        spent_glm=str(files.ledger.spent()),
        srcc=summary["metrics"]["srcc"] if summary else None,
        report=str(folder / "report.html") if (folder / "report.html").exists() else None,
        open_allocations=files.ledger.open_allocations(),
        open_agreements=[entry["agreement"] for entry in files.ledger.open_agreements()],
    )


@dataclass(frozen=True)
class HireTerms:
    """The terms of a provider's agreement.

    price: the price as text, which `requestor.money.Price.from_text` reads.
    threads: number of threads that the provider offers, and bills.
    """

    price: str
    threads: int


@dataclass(frozen=True)
class RunRecord:
    """Holds everything that is known from the folder of one run.

    Attributes:
        identity: the options that distinguish the run from others (`run.json`).
        backend: backend of the run's last command; None if it is not in `options.json`.
        budget: GLM that the run's last command may spend; None if it is not in `options.json`.
        attempts: all entries of `metrics.jsonl`, oldest first; a round that was done again has several.
        rounds: the last entry of each round, in order.
        receipts: the receipt of each provider, so far.
        hires: the terms of each provider's last agreement, by provider id.
        rejected: GLM of each provider's rejected bills, by provider id.
        evaluation: `metrics` and `intervals` on the test photos; None before the evaluation.
        model: metadata of the finished model; None before it exists.
        seconds: time that the run has taken; 0 before its first process has recorded a time.
        strategy: name of the strategy of the run's last command; empty if it is not in `options.json`.
        wanted: number of rounds of the last command; None if it is not fixed, or not known.
        ended_because: the reason why the training ended, as a phrase; None while it goes on.
        options: the content of `options.json`; None if there is none.
        data: the description of the data set (`data.json`); None if an earlier version of this program made the run.
    """

    identity: dict[str, Any]
    backend: str | None
    budget: Decimal | None
    attempts: list[RoundEntry]
    rounds: list[RoundEntry]
    receipts: list[Receipt]
    hires: dict[str, HireTerms]
    rejected: dict[str, Decimal]
    evaluation: dict[str, Any] | None
    model: dict[str, Any] | None
    seconds: float
    strategy: str = ""
    wanted: int | None = None
    ended_because: str | None = None
    data: dict[str, Any] | None = None
    options: dict[str, Any] | None = None

    @property
    def rounds_done(self) -> int:
        """Returns the number of the last round that changed the model."""
        return max((entry.round for entry in self.rounds if entry.moved), default=0)

    @property
    def spent(self) -> Decimal:
        """Returns the GLM of all receipts."""
        return sum((receipt.paid_glm for receipt in self.receipts), Decimal(0))


@_checked
def read_run_record(folder: Path) -> RunRecord:
    """Reads everything that is known from the folder of a run.

    Raises RunFolderError if the folder holds no training run, or a file of it is damaged.
    """
    from nima.model import checkpoint  # here, because it imports torch

    files = RunFiles(folder)
    identity, options = _identity(files), files.options() or {}
    try:
        budget = read_amount(options.get("budget"))
    except ValueError as error:
        raise files.options_are_damaged(error) from error
    attempts = list(files.attempts())
    receipt, state = files.read("receipt.json"), files.read("state.json") or {}
    model = folder / "model.safetensors"
    return RunRecord(
        identity=identity,
        backend=options.get("backend"),
        budget=budget,
        attempts=attempts,
        rounds=latest(attempts),
        # A run with local workers writes nothing into the ledger; it writes its receipts at its end.
        receipts=files.ledger.receipts()
        or ([Receipt.from_json(entry) for entry in receipt["providers"]] if receipt else []),
        hires={
            entry["provider"]: HireTerms(entry["price"], entry["threads"])
            for entry in files.ledger.entries()
            if entry["event"] == "agreement"
        },
        rejected=files.ledger.rejected_bills(),
        evaluation=files.read("evaluation.json"),
        model=checkpoint.read_metadata(model) if model.exists() else None,
        seconds=state.get("seconds", 0.0),
        strategy=str(options.get("strategy", "")),
        wanted=state.get("wanted"),
        ended_because=END_REASONS.get(state.get("ended_because", "")),
        data=files.read("data.json"),
        options=files.options(),
    )


def _identity(files: RunFiles) -> dict[str, Any]:
    identity = files.read("run.json")
    if not _is_training(identity):
        raise RunFolderError(f"{files.path} holds no training run; see `nima-golem runs list`.")
    return dict(identity)


def _is_training(identity: object) -> bool:
    return isinstance(identity, dict) and "backbone" in identity
