"""Keeps the progress of a run's training."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from requestor.records.folder import RunFolder

_FILE = "state.json"


@dataclass
class TrainingState:
    """The progress of a run's training, kept in `state.json`.

    round: number of the last round that counts.
    best_round: number of the round whose model is best on the hold-out; 0 means the head that was trained on features,
        before any round.
    best_emd: EMD of this model on the hold-out; None if there is no trained model yet.
    seconds: time that the run has taken, in seconds.
    """

    round: int = 0
    best_round: int = 0
    best_emd: float | None = None
    seconds: float = 0.0

    @classmethod
    def read(cls, folder: RunFolder) -> TrainingState:
        """Reads the state of a run; without a file, it is that of a new run. Raises RunFolderError if it is damaged."""
        return cls(**(folder.read(_FILE) or {}))

    def write(self, folder: RunFolder) -> None:
        """Writes the state into the run's folder, atomically."""
        folder.write(_FILE, asdict(self))

    def reach(self, number: int, emd: float) -> None:
        """Records that a round is done, and the EMD of its model on the hold-out."""
        self.round = number
        if self.best_emd is None or emd < self.best_emd:
            self.best_emd, self.best_round = emd, number
