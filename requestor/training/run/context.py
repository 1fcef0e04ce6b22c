"""What every stage of a run works with."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from nima.ava import Split
from requestor.backends import Outcome
from requestor.records import RunFolder
from requestor.terminal import RunProgress
from requestor.training import RunConfig
from requestor.training.providers import Providers, Verdict


@dataclass(frozen=True)
class RunContext:
    """One run of `nima-golem train`.

    stopping: set where no further work is to be begun.
    """

    config: RunConfig
    folder: RunFolder
    split: Split
    progress: RunProgress
    stopping: threading.Event = field(default_factory=threading.Event)

    def note_outcome(self, providers: Providers, outcome: Outcome, verdict: Verdict) -> None:
        """Say why what came back was no good, and that it is not to be paid for."""
        if verdict.admitted:
            return
        who = outcome.provider.name if outcome.provider else "nobody"
        self.progress.note(f"  {who}: {verdict.reason}")
        providers.reject(outcome, verdict)
