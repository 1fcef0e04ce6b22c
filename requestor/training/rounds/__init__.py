"""Runs a federated round: assigns work, judges updates, aggregates what is admitted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nima.lazy import attach

if TYPE_CHECKING:
    from requestor.training.rounds.admission import AdmissionHistory
    from requestor.training.rounds.aggregation import AGGREGATION_RULES
    from requestor.training.rounds.gate import LEAST_HOLDOUT, HoldoutEvaluator
    from requestor.training.rounds.root import HoldoutRoot
    from requestor.training.rounds.round import RoundReport, RoundSettings, forget_updates, run_round
    from requestor.training.rounds.server_optimizer import load_server_state, save_server_state
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "admission": ["AdmissionHistory"],
            "aggregation": ["AGGREGATION_RULES"],
            "gate": ["LEAST_HOLDOUT", "HoldoutEvaluator"],
            "root": ["HoldoutRoot"],
            "round": ["RoundReport", "RoundSettings", "forget_updates", "run_round"],
            "server_optimizer": ["load_server_state", "save_server_state"],
        },
    )

__all__ = [
    "AGGREGATION_RULES",
    "LEAST_HOLDOUT",
    "AdmissionHistory",
    "HoldoutEvaluator",
    "HoldoutRoot",
    "RoundReport",
    "RoundSettings",
    "forget_updates",
    "load_server_state",
    "run_round",
    "save_server_state",
]
