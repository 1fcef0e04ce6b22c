"""Has tasks computed before a deadline, on Golem or in subprocesses, and returns their outcomes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nima.lazy import attach

if TYPE_CHECKING:
    from requestor.backends.base import Backend, Evidence, Outcome, Provider, Task, renamed_task
    from requestor.backends.closing import RoundLimits, items_until
    from requestor.backends.hiring import HiringConfig, image_for, offer_filter, open_backend
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "base": ["Backend", "Evidence", "Outcome", "Provider", "Task", "renamed_task"],
            "closing": ["RoundLimits", "items_until"],
            "hiring": ["image_for", "offer_filter", "open_backend", "HiringConfig"],
        },
    )

__all__ = [
    "Backend",
    "Evidence",
    "HiringConfig",
    "Outcome",
    "Provider",
    "RoundLimits",
    "Task",
    "image_for",
    "items_until",
    "offer_filter",
    "open_backend",
    "renamed_task",
]
