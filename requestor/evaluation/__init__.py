"""Measures how good predictions are on AVA, computed here or on providers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nima.lazy import attach

if TYPE_CHECKING:
    from requestor.evaluation import table as table
    from requestor.evaluation.evaluation import Evaluation, check_not_trained_on, evaluate_table, read_evaluation
    from requestor.evaluation.on_providers import predict_with
    from requestor.evaluation.prediction import collect_predictions, predict_here
    from requestor.evaluation.splits import listed_split, test_split
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "table": [],
            "evaluation": ["Evaluation", "check_not_trained_on", "evaluate_table", "read_evaluation"],
            "on_providers": ["predict_with"],
            "prediction": ["collect_predictions", "predict_here"],
            "splits": ["listed_split", "test_split"],
        },
    )

__all__ = [
    "Evaluation",
    "check_not_trained_on",
    "collect_predictions",
    "evaluate_table",
    "listed_split",
    "predict_here",
    "predict_with",
    "read_evaluation",
    "table",
    "test_split",
]
