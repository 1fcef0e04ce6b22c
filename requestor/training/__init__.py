"""Describes a training run: its options, strategies and estimate. The subpackages carry it out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nima.lazy import attach

if TYPE_CHECKING:
    from requestor.training.assumptions import Assumptions, market_assumptions
    from requestor.training.ava_folder import choose_ava_folder
    from requestor.training.config import RunConfig
    from requestor.training.estimate import estimate_lines, estimate_run
    from requestor.training.options import HOURS_LIMITS, OPTION_LIMITS, TrainOptions
    from requestor.training.privacy import evaluation_notice, note_agreement, privacy_notice
    from requestor.training.starting_model import load_start, model_like
    from requestor.training.strategies import DEFAULT_STRATEGY, STRATEGIES
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "assumptions": ["Assumptions", "market_assumptions"],
            "ava_folder": ["choose_ava_folder"],
            "config": ["RunConfig"],
            "estimate": ["estimate_lines", "estimate_run"],
            "options": ["HOURS_LIMITS", "OPTION_LIMITS", "TrainOptions"],
            "privacy": ["evaluation_notice", "note_agreement", "privacy_notice"],
            "starting_model": ["load_start", "model_like"],
            "strategies": ["DEFAULT_STRATEGY", "STRATEGIES"],
        },
    )

__all__ = [
    "DEFAULT_STRATEGY",
    "HOURS_LIMITS",
    "OPTION_LIMITS",
    "STRATEGIES",
    "Assumptions",
    "RunConfig",
    "TrainOptions",
    "choose_ava_folder",
    "estimate_lines",
    "estimate_run",
    "evaluation_notice",
    "load_start",
    "market_assumptions",
    "model_like",
    "note_agreement",
    "privacy_notice",
]
