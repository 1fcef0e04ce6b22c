"""Admission: whether what a provider sent may touch the model. A verdict is a value with a reason."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from nima.errors import NimaError
from nima.jobs import TrainingPlan
from nima.update import decode_update, schema_of
from requestor.backends.base import Outcome

LONGEST_STEP = 1.0  # relative to the norm of the trained parameters; honest rounds move them by a few per cent


@dataclass(frozen=True)
class Verdict:
    """admitted, or the reason why not; `norm` of the update where it could be read, else NaN."""

    admitted: bool
    reason: str
    norm: float = math.nan


@dataclass(frozen=True)
class Admitted:
    """An update that passed: name → float32 array, and the samples that we assigned for it."""

    delta: dict[str, NDArray[np.float32]]
    samples: int


def admit_update(outcome: Outcome, trained: dict[str, torch.Tensor]) -> tuple[Verdict, Admitted | None]:
    """Check one training outcome against the round's parameters (name → float32 tensor).

    The size was capped by the backend before the file was opened; `decode_update` checks the schema strictly and
    that every value is finite; here follow the task's own facts and the norm.
    """
    plan = outcome.task.job.plan
    if outcome.error is not None or outcome.result is None or outcome.output is None or plan is None:
        return Verdict(False, outcome.error or "no update came back"), None
    assigned = plan.steps * plan.batch_size
    if (outcome.result.job_id, outcome.result.kind) != (outcome.task.job.job_id, "train"):
        return Verdict(False, "the result is of another job"), None
    if outcome.result.samples > assigned:
        return Verdict(False, f"it claims {outcome.result.samples} samples of {assigned} assigned"), None
    try:
        delta = decode_update(outcome.output, schema_of(trained))
    except NimaError as error:
        return Verdict(False, str(error)), None
    arrays = {name: values.numpy() for name, values in delta.items()}
    norm = _norm(arrays)
    limit = LONGEST_STEP * max(_norm({name: values.numpy() for name, values in trained.items()}), 1e-12)
    if norm == 0:
        return Verdict(False, "the update is zero: no work was done", norm), None
    if norm > limit:
        return Verdict(False, f"the update's norm {norm:.3g} is beyond {limit:.3g}", norm), None
    return Verdict(True, "admitted", norm), Admitted(arrays, _samples(plan))


def _samples(plan: TrainingPlan) -> int:
    return plan.steps * plan.batch_size


def _norm(arrays: dict[str, NDArray[np.float32]]) -> float:
    """Euclidean norm over all parameters, in float64."""
    return math.sqrt(sum(float(np.square(values, dtype=np.float64).sum()) for values in arrays.values()))
