"""Scores photos over HTTP.

Example:
    >>> from requestor.scoring.serving import ServiceLimits, is_loopback
    >>> ServiceLimits(rate=5).max_waiting
    32
    >>> is_loopback("127.0.0.1"), is_loopback("0.0.0.0")
    (True, False)

`ScoringService` makes the application from these limits, a model's name and a `ScoringThread`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nima.lazy import attach

if TYPE_CHECKING:
    from requestor.scoring.serving.access import is_loopback
    from requestor.scoring.serving.app import ScoringService, ServiceLimits, runner_of
    from requestor.scoring.serving.scoring_thread import ScoringThread
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "access": ["is_loopback"],
            "app": ["ScoringService", "ServiceLimits", "runner_of"],
            "scoring_thread": ["ScoringThread"],
        },
    )

__all__ = ["ScoringService", "ScoringThread", "ServiceLimits", "is_loopback", "runner_of"]
