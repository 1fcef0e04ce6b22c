"""Judges updates: decides for each whether it may be aggregated. A verdict is a value with a reason.

The checks go from cheap to expensive, and each relies on those before it: the claims in the result; the file (its size
before anything is read, safetensors header, names, shapes and types, finite values); the norm; a comparison with
earlier updates, to find copies; and the effect on the hold-out. The first updates of a round cannot be compared with
others when they arrive, so all are judged again at the end of the round.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from nima.errors import NimaError
from nima.safe_io import sha256_of
from nima.wire import decode_update, schema_of
from requestor.backends import Outcome
from requestor.records import RoundEntry
from requestor.training.providers import Verdict, VerdictKind
from requestor.training.rounds.aggregation import Update
from requestor.training.rounds.gate import Evaluate, Gate
from requestor.training.rounds.vectors import Directions, flatten, norm

ALONE = 0.5  # share of an update that is tried on the hold-out: the share that it has in an average of two updates
LONGEST_STEP = 10.0  # largest norm of an update, relative to that of the trained parameters: no training reaches it
LONGEST, SHORTEST = 10.0, 0.01  # limits of an update's norm, relative to the median of the known norms
# An update that worsens the hold-out is refused if its cosine with the others is below this. The cosines of honest
# updates were above -0.06.
AGAINST = -0.1
FASTEST = 30.0  # highest speed, relative to the median of the known speeds
ENOUGH_KNOWN = 3  # number of values that a median needs before updates are compared with it
CLOCK_SLACK = 1.05  # a provider's clock may be faster than ours by this factor


@dataclass(frozen=True)
class AdmissionHistory:
    """Describes the updates that were admitted in the rounds that changed the model.

    contents: SHA-256 of the values of each update of all these rounds.
    norms, speeds: norms and speeds (samples a second) of the updates of the last of these rounds.
    """

    contents: frozenset[str] = frozenset()
    norms: tuple[float, ...] = ()
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
            tuple(update.norm for update in last if update.norm is not None),
            tuple(update.samples / update.seconds for update in last if update.seconds > 0),
        )


class _Refused(Exception):
    def __init__(self, kind: VerdictKind, reason: str) -> None:
        super().__init__(reason)
        self.kind: VerdictKind = kind


class Admission:
    """Judges the updates of one round, as they arrive.

    Args:
        weights: the round's trained parameters, name → float32 tensor; they must not change during the round.
        evaluate: computes the losses on the hold-out; None admits updates without this check.
        history: describes the updates of earlier rounds; None if there are none.
    """

    def __init__(
        self, weights: Mapping[str, Tensor], evaluate: Evaluate | None = None, history: AdmissionHistory | None = None
    ) -> None:
        history = history or AdmissionHistory()
        self._schema = schema_of(weights)
        self._weights_norm = norm(flatten(weights))
        self.gate = Gate(weights, evaluate) if evaluate else None
        self._contents = set(history.contents)
        self._norms = list(history.norms)
        self._speeds = list(history.speeds)
        self._directions = Directions()

    def judge(self, outcome: Outcome, samples: int) -> tuple[Verdict, NDArray[np.float32] | None]:
        """Judges the outcome of a task, and remembers an admitted update for comparisons with later ones.

        The file is read twice, for its values and for its hash, and may be deleted afterwards.

        Args:
            outcome: the outcome, as the backend returned it.
            samples: number of samples that were assigned to the task.

        Returns:
            The verdict, and the update, float32 `[values]`; the update is None if it is not admitted.
        """
        length, emd, content = math.nan, math.nan, None
        try:
            self._check_claims(outcome, samples)
            values = self._read(outcome)
            length = norm(values)
            self._check_norm(length)
            content = hashlib.sha256(values.data).hexdigest()
            if content in self._contents:
                raise _Refused("replay", "it is a copy of an update that came before")
            if self.gate is not None:
                emd, good = self.gate.try_step(ALONE * values)
                if not good:
                    raise _Refused("harmful", f"it worsens the hold-out EMD from {self.gate.before:.4f} to {emd:.4f}")
                if emd > self.gate.before:
                    self._check_direction(values, emd)
        except _Refused as refused:
            return Verdict(refused.kind, str(refused), length, emd, content), None
        self._contents.add(content)
        self._norms.append(length)
        self._directions.add(values)
        if outcome.seconds > 0:
            self._speeds.append(samples / outcome.seconds)
        return Verdict("admitted", "admitted", length, emd, content), values

    def look_again(self, verdict: Verdict, update: Update, norms: Sequence[float]) -> Verdict:
        """Judges an admitted update again at the end of the round, when it can be compared with all others.

        Args:
            verdict: the verdict on the update when it arrived.
            update: the update.
            norms: norms of all admitted updates of the round.

        Returns:
            The same verdict if the update is still admitted; otherwise the verdict with which it is refused.
        """
        try:
            _check_beside(verdict.norm, norms)
            if self.gate is not None and verdict.emd > self.gate.before:
                self._check_direction(update.values, verdict.emd, added=True)
        except _Refused as refused:
            return replace(verdict, kind=refused.kind, reason=str(refused))
        return verdict

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
        typical = _typical(self._speeds)
        if typical and samples > FASTEST * typical * outcome.seconds:
            times = samples / max(outcome.seconds, 1e-9) / typical
            raise _Refused("implausible", f"it came {times:.0f} times as fast as others work")

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
        _check_beside(length, self._norms)

    def _check_direction(self, values: NDArray[np.float32], emd: float, *, added: bool = False) -> None:
        """Raises `_Refused` if an update that worsens the hold-out also goes against the direction of the others.

        The caller has found that it worsens the hold-out. Each of the two alone may be chance. The update of an honest
        minority goes against the others, too, but it improves the hold-out.

        Args:
            values: the update, float32 `[values]`.
            emd: EMD on the hold-out with the update.
            added: True if the update was added to the directions before.
        """
        assert self.gate is not None
        agreement = self._directions.agreement(values, added=added)
        if agreement is not None and agreement < AGAINST:
            raise _Refused(
                "harmful",
                f"it goes against the others, and worsens the hold-out EMD from {self.gate.before:.4f} to {emd:.4f}",
            )


def _check_beside(length: float, norms: Sequence[float]) -> None:
    typical = _typical(norms)
    if typical and not SHORTEST * typical <= length <= LONGEST * typical:
        raise _Refused("implausible", f"its norm {length:.3g} is far from the others' {typical:.3g}")


def _typical(known: Sequence[float]) -> float | None:
    """Returns the median, which a minority of liars cannot change much; None while too few values are known."""
    return median(known) if len(known) >= ENOUGH_KNOWN else None
