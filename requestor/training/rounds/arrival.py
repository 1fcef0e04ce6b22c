"""Holds a provider's answer in a round. An update that could be read stays on disk until its round counts.

So a run that was killed buys no update twice: when the round is done again, the updates that are there belong to the
same jobs, and only the others are asked for.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, replace
from decimal import Decimal, DecimalException
from pathlib import Path

from nima.errors import NimaError
from nima.safe_io import write_atomically
from nima.wire import JobResult
from requestor.backends import Outcome, Provider, renamed_task
from requestor.records import finite_or_none
from requestor.training.providers import Verdict
from requestor.training.rounds.aggregation import StoredUpdate
from requestor.training.rounds.assignment import Assignment


@dataclass(frozen=True)
class Arrival:
    """An outcome, with its assignment and the verdict of the first look.

    update: the update, whose file is named by its job; None if it could not be read, so that the verdict is final.
    """

    outcome: Outcome
    assignment: Assignment
    verdict: Verdict
    update: StoredUpdate | None

    @property
    def job_id(self) -> str:
        """Returns the id of the job."""
        return self.outcome.task.job.job_id

    def keep(self) -> None:
        """Writes a file `<job id>.json` beside the update, from which `kept_arrival` makes the same arrival."""
        outcome, verdict = self.outcome, self.verdict
        assert self.update is not None, "only an update that could be read is kept"
        assert outcome.result is not None, "an update comes with a result"
        assert outcome.provider is not None, "an update comes from a provider"
        content = {
            "job": outcome.task.job.to_json(),
            "provider": [outcome.provider.id, outcome.provider.name],
            "result": outcome.result.to_json(),
            "seconds": outcome.seconds,
            "cost_glm": None if outcome.cost is None else str(outcome.cost),
            "kind": verdict.kind,
            "reason": verdict.reason,
            "norm": finite_or_none(verdict.norm),
            "emd": finite_or_none(verdict.emd),
            "content": verdict.content,
        }
        write_atomically(_about(self.update.path), json.dumps(content).encode())


def kept_arrival(folder: Path, assignment: Assignment, size: int) -> Arrival | None:
    """Returns the arrival that an earlier process kept for an assignment.

    Returns None if there is none, if it belongs to another job (other weights, photos or plan), or if it is damaged.

    Args:
        folder: folder with the updates of the round.
        assignment: the assignment.
        size: number of values of an update.
    """
    for task in (renamed_task(assignment.task), assignment.task):  # the second attempt, if there was one
        update = StoredUpdate(folder / task.job.job_id, size, assignment.samples)
        try:
            content = json.loads(_about(update.path).read_text(encoding="utf-8"))
            if content["job"] != task.job.to_json():
                continue
            nan, cost = math.nan, content["cost_glm"]
            norm, emd = (nan if content[name] is None else float(content[name]) for name in ("norm", "emd"))
            verdict = Verdict(content["kind"], content["reason"], norm, emd, content["content"])
            if hashlib.sha256(update.values.copy().data).hexdigest() != verdict.content:
                continue
            outcome = Outcome(
                task, Provider(*content["provider"]), JobResult.from_json(content["result"]),
                seconds=float(content["seconds"]), cost=None if cost is None else Decimal(cost),
            )  # fmt: skip
        except (OSError, ValueError, KeyError, TypeError, DecimalException, NimaError):
            continue
        return Arrival(outcome, replace(assignment, task=task), verdict, update)
    return None


def _about(update: Path) -> Path:
    return update.with_name(f"{update.name}.json")
