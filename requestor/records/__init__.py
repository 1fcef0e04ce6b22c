"""Keeps a run's records on disk: folder and lock, ledger, state, journal, overview.

Example:
    >>> import tempfile
    >>> from decimal import Decimal
    >>> from pathlib import Path
    >>> from requestor.records import Ledger
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     ledger = Ledger(Path(folder) / "ledger.jsonl")
    ...     ledger.record("agreement", agreement="a1", provider="0x1", name="alice", price="0 0 0.00002", threads=4)
    ...     ledger.record("task", agreement="a1", job="round-0001-client-0000", ok=True)
    ...     ledger.record("invoice", agreement="a1", amount=Decimal("0.25"))
    ...     [(receipt.name, receipt.tasks, receipt.paid_glm, receipt.open_bills) for receipt in ledger.receipts()]
    [('alice', 1, Decimal('0.25'), 0)]
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nima.lazy import attach

if TYPE_CHECKING:
    from requestor.records.folder import RunFiles, RunFolder, log_to
    from requestor.records.ledger import Ledger, Receipt, describe_open_bills, describe_payments
    from requestor.records.overview import HireTerms, RunRecord, is_training_run, read_run_record, read_run_state
    from requestor.records.round_record import ADMITTED, OutcomeEntry, RoundEntry, finite_or_none
    from requestor.records.state import END_REASONS, EndReason, TrainingState
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "folder": ["RunFiles", "RunFolder", "log_to"],
            "ledger": ["Ledger", "Receipt", "describe_open_bills", "describe_payments"],
            "overview": ["HireTerms", "RunRecord", "is_training_run", "read_run_record", "read_run_state"],
            "round_record": ["ADMITTED", "OutcomeEntry", "RoundEntry", "finite_or_none"],
            "state": ["END_REASONS", "EndReason", "TrainingState"],
        },
    )

__all__ = [
    "ADMITTED",
    "END_REASONS",
    "EndReason",
    "HireTerms",
    "Ledger",
    "OutcomeEntry",
    "Receipt",
    "RoundEntry",
    "RunFiles",
    "RunFolder",
    "RunRecord",
    "TrainingState",
    "describe_open_bills",
    "describe_payments",
    "finite_or_none",
    "is_training_run",
    "log_to",
    "read_run_record",
    "read_run_state",
]
