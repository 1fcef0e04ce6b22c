"""Remembers how fast and how honest providers are, and which get no more work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nima.lazy import attach

if TYPE_CHECKING:
    from requestor.training.providers.bans import ban_list
    from requestor.training.providers.standing import Providers
    from requestor.training.providers.verdict import PROOF, RELATIVE, Verdict, VerdictKind, outcome_entry
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "bans": ["ban_list"],
            "standing": ["Providers"],
            "verdict": ["PROOF", "RELATIVE", "VerdictKind", "Verdict", "outcome_entry"],
        },
    )

__all__ = ["PROOF", "RELATIVE", "Providers", "Verdict", "VerdictKind", "ban_list", "outcome_entry"]
