"""What every stage of a run works with."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from nima.splits import Split
from requestor.backends.base import Backend, Outcome
from requestor.config import RunConfig
from requestor.progress import RunProgress
from requestor.providers import Providers
from requestor.run_dir import RunFolder
from requestor.verdict import Verdict


@dataclass(frozen=True)
class RunContext:
    """One run of `nima-golem train`.

    stopping: set where no further work is to be begun.
    dismissed: ids of the providers that get no more work.
    _harmful: of the others, what was harmful by chance or not: provider id → job ids and reasons.
    """

    config: RunConfig
    folder: RunFolder
    split: Split
    progress: RunProgress
    stopping: threading.Event = field(default_factory=threading.Event)
    dismissed: set[str] = field(default_factory=set)
    _harmful: dict[str, list[tuple[str, str]]] = field(default_factory=dict)

    def note_outcome(self, backend: Backend, outcome: Outcome, verdict: Verdict) -> None:
        """Say why what came back was no good, and that it is not to be paid for."""
        if verdict.admitted:
            return
        who = outcome.provider.name if outcome.provider else "nobody"
        self.progress.note(f"  {who}: {verdict.reason}")
        job_id = outcome.task.job.job_id
        if outcome.provider is not None and verdict.kind == "harmful":  # as an honest one is from time to time
            self._harmful.setdefault(outcome.provider.id, []).append((job_id, verdict.reason))
        elif verdict.kind != "no update":
            backend.reject(job_id, verdict.reason)

    def dismiss_banned(self, backend: Backend, providers: Providers) -> None:
        """Give no more work to those who were banned for what they sent."""
        for provider_id, standing in providers.standings().items():
            if standing.banned is not None and provider_id not in self.dismissed:
                self.dismissed.add(provider_id)
                backend.dismiss(provider_id)
                for job_id, reason in self._harmful.pop(provider_id, ()):
                    backend.reject(job_id, reason)
                self.progress.note(f"  {standing.name} gets no more work")
