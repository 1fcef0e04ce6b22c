"""Carries a training run through its stages, each of which leaves its result on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nima.lazy import attach

if TYPE_CHECKING:
    from requestor.training.run.opening import open_run
    from requestor.training.run.pipeline import TrainingRun
    from requestor.training.run.privacy import note_agreement, privacy_notice
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "opening": ["open_run"],
            "pipeline": ["TrainingRun"],
            "privacy": ["note_agreement", "privacy_notice"],
        },
    )

__all__ = ["TrainingRun", "note_agreement", "open_run", "privacy_notice"]
