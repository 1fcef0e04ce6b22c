"""Holds the objects that every stage of a run uses."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

from nima.ava import Split
from requestor.backends import Outcome
from requestor.records import RunFolder, TrainingState
from requestor.terminal import RunProgress
from requestor.training import RunConfig
from requestor.training.providers import Providers, Verdict


@dataclass(frozen=True)
class RunContext:
    """The context of one run of `nima-golem train`.

    config: the configuration.
    folder: the run's folder, locked.
    split: the photos on which the run is tested.
    progress: shows the progress to people.
    stopping: is set when no further work is to begin.
    began: time at which this process began, on the clock of `time.monotonic`.
    earlier_seconds: time that earlier processes of the run took.
    """

    config: RunConfig
    folder: RunFolder
    split: Split
    progress: RunProgress
    stopping: threading.Event = field(default_factory=threading.Event)
    began: float = field(default_factory=time.monotonic)
    earlier_seconds: float = 0.0

    def save(self, state: TrainingState) -> None:
        """Writes the run's state to disk, with the time that the run has taken until now."""
        state.seconds = self.earlier_seconds + time.monotonic() - self.began
        state.write(self.folder)

    def note_outcome(self, providers: Providers, outcome: Outcome, verdict: Verdict) -> None:
        """Shows the reason why an outcome was not admitted, and has it rejected; ignores an admitted one."""
        if verdict.admitted:
            return
        who = outcome.provider.name if outcome.provider else "nobody"
        self.progress.note(f"  {who}: {verdict.reason}")
        providers.reject(outcome, verdict)
