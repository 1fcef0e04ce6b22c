"""Writes a run's report as one HTML page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nima.lazy import attach

if TYPE_CHECKING:
    from requestor.training.report.page import write_report
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "page": ["write_report"],
        },
    )

__all__ = ["write_report"]
