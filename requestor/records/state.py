"""Keeps the progress of a run's training, and the reason why the training ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal

from nima.safe_io import FormatError, build_dataclass, check_types
from requestor.errors import RunFolderError
from requestor.records.folder import RunFolder

_FILE = "state.json"

EndReason = Literal["embedded", "rounds", "stalled", "failed", "budget", "hours"]
END_REASONS: Mapping[EndReason, str] = {
    "embedded": "the strategy has no rounds",
    "rounds": "all rounds are done",
    "stalled": "two rounds in a row lowered the hold-out EMD by less than one standard error",
    "failed": "two rounds in a row did not change the model",
    "budget": "the rest of the budget does not cover another round and the evaluation",
    "hours": "another round would take longer than --hours allows",
}
"""The reasons why a training ends, as phrases for people."""


@dataclass
class TrainingState:
    """The progress of a run's training, kept in `state.json`.

    round: number of the last round that counts.
    best_round: number of the round whose model is best on the hold-out; 0 means the head that was trained on features,
        before any round.
    best_emd: EMD of this model on the hold-out; None if there is no trained model yet.
    seconds: time that the run has taken, in seconds.
    wanted: number of rounds of the last command; None if its rounds go on until they no longer help.
    stalled: number of the last rounds in a row that did not lower the hold-out EMD by more than chance may.
    failed: number of the last rounds in a row that did not change the model.
    round_seconds, round_glm: time in seconds and cost in GLM (exact text) of the last round.
    ended_because: the reason why the training ended; None while it goes on.
    """

    round: int = 0
    best_round: int = 0
    best_emd: float | None = None
    seconds: float = 0.0
    wanted: int | None = 0
    stalled: int = 0
    failed: int = 0
    round_seconds: float = 0.0
    round_glm: str = "0"
    ended_because: EndReason | None = None

    @classmethod
    def read(cls, folder: RunFolder) -> TrainingState:
        """Reads the state of a run; without a file, it is that of a new run. Raises RunFolderError if it is damaged."""
        try:
            state: TrainingState = build_dataclass(cls, folder.read(_FILE) or {})
            check_types(state)
        except FormatError as error:
            raise RunFolderError(f"{folder.path / _FILE} is damaged ({error}): choose another --run-dir.") from error
        return state

    def write(self, folder: RunFolder) -> None:
        """Writes the state into the run's folder, atomically."""
        folder.write(_FILE, asdict(self))

    def reach(self, number: int, emd: float) -> bool:
        """Records that a round is done, and the EMD of its model on the hold-out; returns True if it is the best."""
        self.round = max(self.round, number)
        if self.best_emd is not None and emd >= self.best_emd:
            return False
        self.best_emd, self.best_round = emd, number
        return True
