"""Carries a training run through its stages, each of which leaves its result on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nima.lazy import attach

if TYPE_CHECKING:
    from requestor.training.run.opening import open_run
    from requestor.training.run.pipeline import TrainingRun
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "opening": ["open_run"],
            "pipeline": ["TrainingRun"],
        },
    )

__all__ = ["TrainingRun", "open_run"]
