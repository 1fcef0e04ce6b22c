"""Keeps how far a run's training has come."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from requestor.records.folder import RunFolder

_FILE = "state.json"


@dataclass
class TrainingState:
    """The progress of a run's training, kept in `state.json`.

    round: number of the last round that counts.
    best_round: the round whose model is best on the hold-out; 0 means the head that was trained on features, before
        any round.
    best_emd: that model's EMD on the hold-out; None while there is no trained model.
    seconds: time that the run has taken.
    """

    round: int = 0
    best_round: int = 0
    best_emd: float | None = None
    seconds: float = 0.0

    @classmethod
    def read(cls, folder: RunFolder) -> TrainingState:
        return cls(**(folder.read(_FILE) or {}))

    def write(self, folder: RunFolder) -> None:
        folder.write(_FILE, asdict(self))

    def reach(self, number: int, emd: float) -> None:
        """Records that the model after this round has this EMD on the hold-out."""
        self.round = number
        if self.best_emd is None or emd < self.best_emd:
            self.best_emd, self.best_round = emd, number
