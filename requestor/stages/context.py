"""What every stage of a run works with."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from nima.splits import Split
from requestor.admission import Verdict
from requestor.backends.base import Backend, Outcome
from requestor.config import RunConfig
from requestor.progress import RunProgress
from requestor.providers import Providers
from requestor.run_dir import RunFolder


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

    def note_outcome(self, outcome: Outcome, verdict: Verdict) -> None:
        """Say why what came back was no good."""
        if not verdict.admitted:
            who = outcome.provider.name if outcome.provider else "nobody"
            self.progress.note(f"  {who}: {verdict.reason}")

    def dismiss_banned(self, backend: Backend, outcome: Outcome, providers: Providers) -> None:
        """Give whoever sent this no more work, if it was banned for it."""
        provider = outcome.provider
        if provider is not None and providers.is_banned(provider.id):
            backend.dismiss(provider.id)
            self.progress.note(f"  {provider.name} gets no more work")
