"""Finds out which Golem a command uses, and whether everything is there that it needs.

Example:
    >>> from requestor.setup import SetupFinding
    >>> finding = SetupFinding("yagna", "blocked", "yagna is not installed.", "pip install golem-node")
    >>> finding.to_json()["advice"]
    'pip install golem-node'

`check_setup(GolemSetup.of_environment(None))` yields such findings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nima.lazy import attach

if TYPE_CHECKING:
    from requestor.setup.doctor import GolemSetup, check_setup
    from requestor.setup.environment import golem_environment, is_devnet
    from requestor.setup.finding import SetupFinding
    from requestor.setup.readiness import golem_of_run, require_daemon
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "doctor": ["GolemSetup", "check_setup"],
            "environment": ["golem_environment", "is_devnet"],
            "finding": ["SetupFinding"],
            "readiness": ["golem_of_run", "require_daemon"],
        },
    )

__all__ = [
    "GolemSetup",
    "SetupFinding",
    "check_setup",
    "golem_environment",
    "golem_of_run",
    "is_devnet",
    "require_daemon",
]
