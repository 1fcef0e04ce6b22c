"""Measures how good predictions are on AVA, computed here or on providers.

Example:
    >>> import numpy as np
    >>> from nima.ava import PredictionTable, Ratings
    >>> from requestor.evaluation import evaluate_predictions, evaluation_lines
    >>> votes = np.eye(10, dtype=np.int32)[[3, 4, 6]] * 80 + 2
    >>> ratings = Ratings(np.array([1, 2, 3]), votes)
    >>> table = PredictionTable(np.array([1, 2, 3]), votes / 100)
    >>> evaluation = evaluate_predictions(table, ratings, split=None, resamples=0)
    >>> evaluation.metrics.n
    3
    >>> evaluation_lines(evaluation, other=None, width=None)[0].split(",")[0]
    '3 photos'
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nima.lazy import attach

if TYPE_CHECKING:
    from requestor.evaluation.evaluation import Evaluation, check_not_trained_on, evaluate_predictions, read_evaluation
    from requestor.evaluation.on_providers import predict_on_backend
    from requestor.evaluation.prediction import collect_predictions, evaluation_task, predict_here
    from requestor.evaluation.splits import chosen_test_split, listed_split
    from requestor.evaluation.table import evaluation_lines
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "evaluation": ["Evaluation", "check_not_trained_on", "evaluate_predictions", "read_evaluation"],
            "on_providers": ["predict_on_backend"],
            "prediction": ["collect_predictions", "evaluation_task", "predict_here"],
            "splits": ["chosen_test_split", "listed_split"],
            "table": ["evaluation_lines"],
        },
    )

__all__ = [
    "Evaluation",
    "check_not_trained_on",
    "chosen_test_split",
    "collect_predictions",
    "evaluate_predictions",
    "evaluation_lines",
    "evaluation_task",
    "listed_split",
    "predict_here",
    "predict_on_backend",
    "read_evaluation",
]
