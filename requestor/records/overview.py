"""What the folder of a run tells without being opened for work: in a few words for lists, or all of it for a report."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from requestor.errors import RunFolderError
from requestor.records.folder import RunFiles
from requestor.records.ledger import Receipt
from requestor.records.round_record import RoundEntry, latest


@dataclass(frozen=True)
class RunState:
    """A run in a few words, as `nima-golem runs` shows it."""

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
    """Whether a folder holds a training run; the folder of an evaluation holds none.

    Raises RunFolderError where its `run.json` cannot be read.
    """
    return _is_training(RunFiles(folder).read("run.json"))


def read_run_state(folder: Path) -> RunState:
    """Reads how far a run has come. Raises RunFolderError where the folder holds no run, or a file of it is damaged."""
    files = RunFiles(folder)
    identity, options = _identity(files), files.read("options.json") or {}
    state, summary = files.read("state.json") or {"round": 0}, files.read("summary.json")
    return RunState(
        run=str(folder),
        state="finished" if summary else "not finished",
        strategy=str(identity.get("strategy", "?")),
        rounds=f"{state['round']}/{identity['rounds']}",
        backend=str(options.get("backend", "?")),
        spent_glm=str(files.ledger.spent()),
        srcc=summary["metrics"]["srcc"] if summary else None,
        report=str(folder / "report.html") if (folder / "report.html").exists() else None,
        open_allocations=files.ledger.open_allocations(),
        open_agreements=[entry["agreement"] for entry in files.ledger.open_agreements()],
    )


@dataclass(frozen=True)
class HireTerms:
    """The terms that a provider works on; the price as text, as `requestor.money.amounts.Price` reads it."""

    price: str
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
    hires: dict[str, HireTerms]
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


def read_run_record(folder: Path) -> RunRecord:
    """Reads all that the folder of a run says.

    Raises RunFolderError where the folder holds no training run, or a file of it is damaged.
    """
    from nima.model import checkpoint  # here, as it imports torch

    files = RunFiles(folder)
    identity = _identity(files)
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
            entry["provider"]: HireTerms(entry["price"], entry["threads"])
            for entry in files.ledger.entries()
            if entry["event"] == "agreement"
        },
        rejected=files.ledger.rejected_bills(),
        evaluation=files.read("evaluation.json"),
        model=checkpoint.read_metadata(model) if model.exists() else None,
        seconds=(files.read("state.json") or {}).get("seconds", 0.0),
    )


def _identity(files: RunFiles) -> dict[str, Any]:
    identity = files.read("run.json")
    if not _is_training(identity):
        raise RunFolderError(f"{files.path} holds no training run; see `nima-golem runs list`.")
    return dict(identity)


def _is_training(identity: object) -> bool:
    return isinstance(identity, dict) and "rounds" in identity


def _receipt(entry: dict[str, Any]) -> Receipt:
    return Receipt(**{**entry, "paid_glm": Decimal(entry["paid_glm"])})
