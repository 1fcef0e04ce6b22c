"""Keeps what a run knows on disk: folder and lock, ledger, state, journal, overview."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nima.lazy import attach

if TYPE_CHECKING:
    from requestor.records.folder import RunFiles, RunFolder, log_to
    from requestor.records.ledger import Ledger, Receipt
    from requestor.records.overview import HireTerms, RunRecord, is_training_run, read_run_record, read_run_state
    from requestor.records.round_record import ADMITTED, OutcomeEntry, RoundEntry, finite_or_none
    from requestor.records.state import TrainingState
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "folder": ["RunFiles", "RunFolder", "log_to"],
            "ledger": ["Ledger", "Receipt"],
            "overview": ["HireTerms", "RunRecord", "is_training_run", "read_run_record", "read_run_state"],
            "round_record": ["ADMITTED", "OutcomeEntry", "RoundEntry", "finite_or_none"],
            "state": ["TrainingState"],
        },
    )

__all__ = [
    "ADMITTED",
    "HireTerms",
    "Ledger",
    "OutcomeEntry",
    "Receipt",
    "RoundEntry",
    "RunFiles",
    "RunFolder",
    "RunRecord",
    "TrainingState",
    "finite_or_none",
    "is_training_run",
    "log_to",
    "read_run_record",
    "read_run_state",
]
