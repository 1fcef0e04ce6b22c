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
    dismissed: ids of the providers that get no more work.
    """

    config: RunConfig
    folder: RunFolder
    split: Split
    progress: RunProgress
    stopping: threading.Event = field(default_factory=threading.Event)
    dismissed: set[str] = field(default_factory=set)

    def note_outcome(self, outcome: Outcome, verdict: Verdict) -> None:
        """Say why what came back was no good."""
        if not verdict.admitted:
            who = outcome.provider.name if outcome.provider else "nobody"
            self.progress.note(f"  {who}: {verdict.reason}")

    def dismiss_banned(self, backend: Backend, providers: Providers) -> None:
        """Give no more work to those who were banned for what they sent."""
        for provider_id, standing in providers.standings().items():
            if standing.banned is not None and provider_id not in self.dismissed:
                self.dismissed.add(provider_id)
                backend.dismiss(provider_id)
                self.progress.note(f"  {standing.name} gets no more work")
