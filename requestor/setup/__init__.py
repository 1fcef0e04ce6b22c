"""Finds out which Golem a command uses, and whether everything is there that it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nima.lazy import attach

if TYPE_CHECKING:
    from requestor.setup.doctor import Setup, examine
    from requestor.setup.environment import golem_environment
    from requestor.setup.finding import Finding
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "doctor": ["Setup", "examine"],
            "environment": ["golem_environment"],
            "finding": ["Finding"],
        },
    )

__all__ = ["Finding", "Setup", "examine", "golem_environment"]
