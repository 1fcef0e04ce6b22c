"""Judges updates: decides for each whether it may be aggregated. A verdict is a value with a reason.

An update is judged twice. On arrival, `Admission.read` makes the checks that need no other update, from cheap to
expensive: the claims in the result; the file (its size before anything is read, safetensors header, names, shapes and
types, finite values); the norm; a comparison with the updates of earlier rounds, to find copies; a segment of the
training, which is computed again; and the effect on the hold-out, which is only noted. At the end of the round,
`Admission.judge` compares all updates that could be read with the root and with each other. So no verdict depends on
the order of arrival.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from nima.errors import NimaError
from nima.safe_io import sha256_of
from nima.wire import decode_update, schema_of
from requestor.backends import Outcome, Task
from requestor.records import RoundEntry
from requestor.training.providers import Verdict, VerdictKind
from requestor.training.rounds.aggregation import Update
from requestor.training.rounds.gate import Evaluate, Gate
from requestor.training.rounds.vectors import cosine, flatten, norm, unflatten

ALONE = 0.5  # share of an update that is tried on the hold-out: the share that it has in an average of two updates
LONGEST_STEP = 10.0  # largest norm of an update, relative to that of the trained parameters: no training reaches it
LONGEST, SHORTEST = 10.0, 0.1  # limits of an update's norm, relative to the root's, or without a root to the median
AGAINST = -0.1  # an update whose cosine with the root is lower is refused
FASTEST = 30.0  # highest speed, relative to the median of the known speeds
ENOUGH_KNOWN = 3  # number of values that a median needs before updates are compared with it
CLOCK_SLACK = 1.05  # a provider's clock may be faster than ours by this factor

Root = Callable[[], NDArray[np.float32]]
"""Computes this machine's own update in the round, float32 `[values]`."""


class Audit(Protocol):
    """Computes parts of trainings again, as `requestor.audits.TrainingAudit` does."""

    def check(self, outcome: Outcome, update: Mapping[str, Tensor]) -> str | None:
        """Returns the reason why the training of an outcome is false; None if no error was found."""

    def repeat_all(self, task: Task, update: Mapping[str, Tensor]) -> str | None:
        """Returns the reason why an update is not the result of its task; None if it is."""


@dataclass(frozen=True)
class AdmissionHistory:
    """Describes the updates that were admitted in the rounds that changed the model.

    contents: SHA-256 of the values of each update of all these rounds.
    speeds: speeds (samples a second) of the updates of the last of these rounds.
    """

    contents: frozenset[str] = frozenset()
    speeds: tuple[float, ...] = ()

    @classmethod
    def of(cls, rounds: Iterable[RoundEntry]) -> AdmissionHistory:
        """Makes the history from the entries of `metrics.jsonl`, so that a resumed run knows what it knew before.

        A round that did not change the model does not count: an update of it may be sent again in the next round.
        """
        admitted = [[update for update in line.updates if update.admitted] for line in rounds if line.moved]
        last = admitted[-1] if admitted else []
        return cls(
            frozenset(update.content for updates in admitted for update in updates if update.content is not None),
            tuple(update.samples / update.seconds for update in last if update.seconds > 0),
        )


@dataclass(frozen=True)
class Candidate:
    """An update that could be read, and awaits its judgement at the end of the round.

    task: its task.
    verdict: the verdict of `Admission.read`, with the update's norm, EMD and content.
    update: the update.
    speed: assigned samples a second; infinite if it took no time.
    """

    task: Task
    verdict: Verdict
    update: Update
    speed: float


class _Refused(Exception):
    def __init__(self, kind: VerdictKind, reason: str) -> None:
        super().__init__(reason)
        self.kind: VerdictKind = kind


class Admission:
    """Judges the updates of one round.

    Args:
        weights: the round's trained parameters, name → float32 tensor; they must not change during the round.
        evaluate: computes the losses on the hold-out; None admits updates without this check.
        history: describes the updates of earlier rounds; None if there are none.
        audit: computes parts of trainings again; None believes them.
        root: computes this machine's own update, at most once; None compares norms with the median, and no directions.

    Attributes:
        size: number of values of an update.
    """

    def __init__(
        self,
        weights: Mapping[str, Tensor],
        evaluate: Evaluate | None = None,
        history: AdmissionHistory | None = None,
        audit: Audit | None = None,
        root: Root | None = None,
    ) -> None:
        self._weights = weights
        self._schema = schema_of(weights)
        self.size = len(flatten(weights))
        self._weights_norm = norm(flatten(weights))
        self._history = history or AdmissionHistory()
        self._audit = audit
        self._root = root
        self.gate = Gate(weights, evaluate) if evaluate else None

    def read(self, outcome: Outcome, samples: int) -> tuple[Verdict, NDArray[np.float32] | None]:
        """Makes those checks of an outcome that need no other update.

        The file is read twice, for its values and for its hash, and may be deleted afterwards.

        Args:
            outcome: the outcome, as the backend returned it.
            samples: number of samples that were assigned to the task.

        Returns:
            A verdict, and the update, float32 `[values]`. If the update is None, the verdict is final. Otherwise it is
            "admitted", or "harmful" if the update worsens the hold-out too much, and `judge` may change it.
        """
        length, content = math.nan, None
        try:
            self._check_claims(outcome, samples)
            values = self._read(outcome)
            length = norm(values)
            self._check_norm(length)
            content = hashlib.sha256(values.data).hexdigest()
            if content in self._history.contents:
                raise _Refused("replay", "it is a copy of an update of an earlier round")
            if self._audit is not None and (false := self._audit.check(outcome, unflatten(values, self._weights))):
                raise _Refused("false", false)
        except _Refused as refused:
            return Verdict(refused.kind, str(refused), length, math.nan, content), None
        if self.gate is None:
            return Verdict("admitted", "admitted", length, math.nan, content), values
        emd, good = self.gate.try_step(ALONE * values)
        if good:
            return Verdict("admitted", "admitted", length, emd, content), values
        reason = f"it worsens the hold-out EMD from {self.gate.before:.4f} to {emd:.4f}"
        return Verdict("harmful", reason, length, emd, content), values

    def judge(self, candidates: Sequence[Candidate]) -> list[Verdict]:
        """Judges all updates of the round that could be read; the order of the candidates does not matter.

        Returns:
            The verdict on each candidate. An update that was sent twice is nobody's if nothing can be computed again:
            then all of its copies are refused, and nobody is blamed.
        """
        root = self._root() if self._root is not None and candidates else None
        speeds = [*self._history.speeds, *(one.speed for one in candidates if math.isfinite(one.speed))]
        norms = [one.verdict.norm for one in candidates]
        typical_norm = norm(root) if root is not None else _typical(norms)
        contents = [one.verdict.content for one in candidates]
        verdicts = []
        for one in candidates:
            try:
                if contents.count(one.verdict.content) > 1:
                    self._settle_copy(one)
                _check_speed(one.speed, _typical(speeds))
                _check_beside(one.verdict.norm, typical_norm)
                if root is not None and (agreement := cosine(one.update.values, root)) < AGAINST:
                    raise _Refused("outlier", f"it goes against this machine's own update (cosine {agreement:.2f})")
                verdicts.append(one.verdict)
            except _Refused as refused:
                verdicts.append(replace(one.verdict, kind=refused.kind, reason=str(refused)))
        return verdicts

    def _settle_copy(self, one: Candidate) -> None:
        """Raises `_Refused` unless the training of an update that several providers sent, done again, gives it."""
        if self._audit is None:
            raise _Refused("outlier", "another provider sent the same update")
        if self._audit.repeat_all(one.task, unflatten(one.update.values, self._weights)):
            raise _Refused("replay", "it is a copy of another provider's update")

    def _check_claims(self, outcome: Outcome, samples: int) -> None:
        result = outcome.result
        if outcome.error is not None or result is None or outcome.output is None:
            raise _Refused("no update", outcome.error or "no update came back")
        if (result.job_id, result.kind) != (outcome.task.job.job_id, "train"):
            raise _Refused("malformed", "the result is of another job")
        if result.samples != samples:
            raise _Refused("implausible", f"it claims {result.samples} samples of {samples} assigned")
        if result.seconds > CLOCK_SLACK * outcome.seconds + 1:
            raise _Refused(
                "implausible", f"it claims {result.seconds:.0f} s of work in the {outcome.seconds:.0f} s that it took"
            )

    def _read(self, outcome: Outcome) -> NDArray[np.float32]:
        assert outcome.output is not None
        assert outcome.result is not None
        try:
            values = flatten(decode_update(outcome.output, self._schema))
            if sha256_of(outcome.output) != outcome.result.output_sha256:
                raise _Refused("malformed", "the file is not the one that its result names")
        except NimaError as error:
            raise _Refused("malformed", str(error)) from error
        return values

    def _check_norm(self, length: float) -> None:
        if length == 0:
            raise _Refused("no work", "the update is zero")
        limit = LONGEST_STEP * self._weights_norm
        if length > limit > 0:
            raise _Refused("implausible", f"its norm {length:.3g} is beyond {limit:.3g}")


def _check_beside(length: float, typical: float | None) -> None:
    if typical and not SHORTEST * typical <= length <= LONGEST * typical:
        raise _Refused("outlier", f"its norm {length:.3g} is far from the usual {typical:.3g}")


def _check_speed(speed: float, typical: float | None) -> None:
    if typical and speed > FASTEST * typical:
        raise _Refused("outlier", f"it came {speed / typical:.0f} times as fast as others work")


def _typical(known: Sequence[float]) -> float | None:
    """Returns the median, which a minority of liars cannot change much; None while too few values are known."""
    return median(known) if len(known) >= ENOUGH_KNOWN else None
