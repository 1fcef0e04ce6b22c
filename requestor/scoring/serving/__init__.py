"""Scores photos over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nima.lazy import attach

if TYPE_CHECKING:
    from requestor.scoring.serving.access import is_loopback
    from requestor.scoring.serving.app import Limits, Service
    from requestor.scoring.serving.scoring_thread import ScoringThread
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "access": ["is_loopback"],
            "app": ["Limits", "Service"],
            "scoring_thread": ["ScoringThread"],
        },
    )

__all__ = ["Limits", "ScoringThread", "Service", "is_loopback"]
