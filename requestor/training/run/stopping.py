"""Decides after every round whether another one is worth its cost, and how large its steps are."""

from __future__ import annotations

import math
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from requestor.money import EVALUATION_RESERVE
from requestor.records import EndReason, TrainingState
from requestor.training import RunConfig

STALLED_ROUNDS = 2  # number of rounds in a row without a clear improvement after which the training ends
FAILED_ROUNDS = 2  # number of failed rounds in a row after which the training ends: another one would fail, too
SMALLER = 0.5  # factor of the learning rates after a round that did not help: its steps may have been too large


def reason_to_end(config: RunConfig, state: TrainingState, spent: Decimal) -> EndReason | None:
    """Returns the reason why no further round is to begin; None if another one is.

    A run with rounds does at least one. If the user fixed the number of rounds, they are done even if they do not help.

    Args:
        config: the configuration of the run, with its number of rounds, budget and hours.
        state: the rounds so far.
        spent: GLM that the run has spent so far.
    """
    if config.rounds == 0:
        return "embedded" if state.best_emd is not None else None
    if config.rounds is not None and state.round >= config.rounds:
        return "rounds"
    if state.failed >= FAILED_ROUNDS:
        return "failed"
    if state.round == 0:
        return None
    if config.rounds is None and state.stalled >= STALLED_ROUNDS:
        return "stalled"
    if spent + Decimal(state.round_glm) > config.budget * (1 - EVALUATION_RESERVE):
        return "budget"
    if config.hours is not None and state.seconds + state.round_seconds > 3600 * config.hours:
        return "hours"
    return None


def improves(before: NDArray[np.float64], after: NDArray[np.float64]) -> bool:
    """Returns True if the losses of the same photos fall by more than one standard error of their difference.

    The losses of one photo before and after a round have much in common, so their difference is known far better than
    either mean.

    Args:
        before, after: the loss of each photo, `[n]`, n ≥ 1; one photo alone has no standard error, so any fall counts.
    """
    gain = before - after
    error = float(gain.std(ddof=1)) / math.sqrt(len(gain)) if len(gain) > 1 else 0.0
    return float(gain.mean()) > error


def step_scale(state: TrainingState) -> float:
    """Returns the factor, 0 to 1, of the learning rates of the next round: smaller after each that did not help."""
    return float(SMALLER ** (state.stalled + state.failed))
