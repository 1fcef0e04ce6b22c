"""Keeps what a run knows on disk: folder and lock, ledger, state, journal, overview."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nima.lazy import attach

if TYPE_CHECKING:
    from requestor.records.folder import RunFiles, RunFolder, log_to
    from requestor.records.ledger import Ledger, Receipt
    from requestor.records.overview import Hire, RunRecord, is_training_run, read_record, read_state
    from requestor.records.round_record import ADMITTED, OutcomeEntry, RoundEntry, finite
    from requestor.records.state import TrainingState
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "folder": ["RunFiles", "RunFolder", "log_to"],
            "ledger": ["Ledger", "Receipt"],
            "overview": ["Hire", "RunRecord", "is_training_run", "read_record", "read_state"],
            "round_record": ["ADMITTED", "OutcomeEntry", "RoundEntry", "finite"],
            "state": ["TrainingState"],
        },
    )

__all__ = [
    "ADMITTED",
    "Hire",
    "Ledger",
    "OutcomeEntry",
    "Receipt",
    "RoundEntry",
    "RunFiles",
    "RunFolder",
    "RunRecord",
    "TrainingState",
    "finite",
    "is_training_run",
    "log_to",
    "read_record",
    "read_state",
]
