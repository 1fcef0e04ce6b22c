"""Computes a random part of what providers sent again, and compares: features, predictions, and trainings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nima.lazy import attach

if TYPE_CHECKING:
    from requestor.audits.rows import check_features, check_predictions
    from requestor.audits.sampling import AUDIT_SHARE, chosen_rows
    from requestor.audits.training import TrainingAudit
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "rows": ["check_features", "check_predictions"],
            "sampling": ["AUDIT_SHARE", "chosen_rows"],
            "training": ["TrainingAudit"],
        },
    )

__all__ = ["AUDIT_SHARE", "TrainingAudit", "check_features", "check_predictions", "chosen_rows"]
