"""What is known of the providers: how fast they are, and who is not to be hired again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from statistics import median

from requestor.backends import Backend, Outcome, Provider
from requestor.records import RoundEntry
from requestor.training.providers.bans import BanList
from requestor.training.providers.verdict import Verdict, VerdictKind

DEAREST = 10  # times what the others' work costs a sample, beyond which there are better uses for the budget
ENOUGH_KNOWN = 3  # others, before anybody's price is held against theirs
OUT = 6  # penalty points in a row, without an admitted update between them, at which a provider is given no more
# An honest update is harmful about once in six times; nobody sends a copy, or no work, by mistake.
PENALTIES: Mapping[VerdictKind, int] = {"malformed": 3, "implausible": 3, "harmful": 2, "no work": OUT, "replay": OUT}


@dataclass
class Standing:
    """One provider in this run.

    client: number of the client that it trained last, and so the one whose shards it holds; None before the first.
    cost: GLM that its usage came to, where that is known.
    banned: why it is out, None while it is not.
    harmful: ids of jobs in which it sent what was harmful, by chance or not, and the reasons.
    """

    name: str
    client: int | None = None
    penalty: int = 0
    samples: int = 0
    seconds: float = 0.0
    cost: Decimal = Decimal(0)
    banned: str | None = None
    harmful: list[tuple[str, str]] = field(default_factory=list)

    @property
    def speed(self) -> float | None:
        """Samples a second, transfers included, over all updates that were admitted; None before the first."""
        return self.samples / self.seconds if self.seconds > 0 else None

    @property
    def sample_price(self) -> Decimal | None:
        """GLM a sample; None while it is not known."""
        return self.cost / self.samples if self.samples and self.cost else None


class Providers:
    """Decides who gets no more work in this run, and tells the backend; everybody else asks this, or tells it.

    Those who are put out by what they sent are remembered in the list of bans. Failing to send anything is an accident
    or worse: the backend counts it, for this run alone.

    Args:
        bans: None where providers have no identity that outlives the run.
        backend: gives no more tasks to those who are put out; None where nobody gives out tasks.
        note: is called with a line for people when somebody is put out.
    """

    def __init__(
        self, bans: BanList | None = None, backend: Backend | None = None, note: Callable[[str], None] | None = None
    ) -> None:
        self._bans = bans
        self._backend = backend
        self._note = note
        self._standings: dict[str, Standing] = {}
        for provider_id, ban in (bans.read() if bans else {}).items():
            self._standings[provider_id] = Standing(ban.name, banned=ban.reason)
            if backend is not None:
                backend.dismiss(provider_id)

    def standings(self) -> dict[str, Standing]:
        """By provider id, in the order in which they were first heard of."""
        return dict(self._standings)

    def is_banned(self, provider_id: str) -> bool:
        return provider_id in self._standings and self._standings[provider_id].banned is not None

    def relative_speed(self, client: int) -> float | None:
        """Speed of the provider that trained this client last, relative to the median provider's; None if unknown."""
        speeds = [standing.speed for standing in self._standings.values() if standing.speed]
        for standing in self._standings.values():
            if standing.client == client and standing.speed:
                return standing.speed / median(speeds)
        return None

    def admitted(
        self, provider: Provider, client: int, samples: int, seconds: float, cost: Decimal | None = None
    ) -> None:
        """Its update for this client, of so many assigned samples, was admitted after `seconds` on our clock.

        Who takes far more for its work than others is out, for this run. cost: GLM, None where it is not known.
        """
        standing = self._standing(provider)
        for other in self._standings.values():
            if other.client == client:
                other.client = None
        standing.client = client
        standing.penalty = 0
        standing.samples += samples
        standing.seconds += seconds
        standing.cost += cost or 0
        prices = [other.sample_price for other in self._standings.values() if other is not standing]
        known = [price for price in prices if price is not None]
        own = standing.sample_price
        if own and len(known) >= ENOUGH_KNOWN and own > DEAREST * median(known):
            self.put_out(provider, f"it costs {own / median(known):.0f} times as much as others")

    def refused(self, provider: Provider, verdict: Verdict) -> None:
        """It brought a result that was not admitted."""
        standing = self._standing(provider)
        standing.penalty += PENALTIES[verdict.kind]
        if standing.penalty >= OUT and standing.banned is None:
            self.put_out(provider, verdict.reason)
            if self._bans is not None:
                self._bans.add(provider, verdict.reason)

    def reject(self, outcome: Outcome, verdict: Verdict) -> None:
        """What the outcome's task brought was refused, and is not paid for.

        What was harmful is paid for until its sender is put out, as an honest update is harmful from time to time.
        """
        job_id = outcome.task.job.job_id
        if verdict.kind == "harmful" and outcome.provider is not None:
            self._standing(outcome.provider).harmful.append((job_id, verdict.reason))
        elif verdict.kind not in ("admitted", "no update") and self._backend is not None:
            self._backend.reject(job_id, verdict.reason)

    def put_out(self, provider: Provider, reason: str) -> None:
        """Give a provider no more work in this run, and reject what it sent that was harmful."""
        standing = self._standing(provider)
        if standing.banned is not None:
            return
        standing.banned = reason
        if self._backend is not None:
            self._backend.dismiss(provider.id)
            for job_id, why in standing.harmful:
                self._backend.reject(job_id, why)
        if self._note is not None:
            self._note(f"  {standing.name} gets no more work")

    def resume(self, rounds: Iterable[RoundEntry]) -> None:
        """Learn the speeds again from the lines of `metrics.jsonl` that were written before this process started.

        Penalties are not: who is in the list of bans is out, and anybody else gets another chance.
        """
        for update in (update for line in rounds for update in line.updates if update.admitted):
            if update.provider_id is not None and update.client is not None:
                provider = Provider(update.provider_id, update.provider or "")
                self.admitted(provider, update.client, update.samples, update.seconds, update.cost_glm)

    def _standing(self, provider: Provider) -> Standing:
        return self._standings.setdefault(provider.id, Standing(provider.name))
