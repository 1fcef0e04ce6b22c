"""Runs a federated round: assigns work, judges updates, aggregates what is admitted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nima.lazy import attach

if TYPE_CHECKING:
    from requestor.training.rounds.admission import History
    from requestor.training.rounds.aggregation import RULES
    from requestor.training.rounds.gate import Holdout
    from requestor.training.rounds.round import RoundReport, RoundSettings, run_round
    from requestor.training.rounds.server_optimizer import load_state, save_state
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "admission": ["History"],
            "aggregation": ["RULES"],
            "gate": ["Holdout"],
            "round": ["RoundReport", "RoundSettings", "run_round"],
            "server_optimizer": ["load_state", "save_state"],
        },
    )

__all__ = ["RULES", "History", "Holdout", "RoundReport", "RoundSettings", "load_state", "run_round", "save_state"]
