"""Remembers what is known of the providers, and decides which get no more work."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from statistics import median

from requestor.backends import Backend, Outcome, Provider
from requestor.records import RoundEntry
from requestor.training.providers.bans import BanList
from requestor.training.providers.verdict import Verdict, VerdictKind

DEAREST = 10  # a provider whose samples cost more than so many times the others' median is put out
ENOUGH_KNOWN = 3  # number of other prices that are needed before a provider's price is compared with them
OUT = 6  # penalty points without an admitted update between them, at which a provider gets no more tasks
# About one in six honest updates is harmful; nobody sends a copy, or no work, by mistake.
PENALTIES: Mapping[VerdictKind, int] = {"malformed": 3, "implausible": 3, "harmful": 2, "no work": OUT, "replay": OUT}


@dataclass
class Standing:
    """One provider's record in this run.

    client: number of the client that it trained last, whose shards it holds therefore; None before the first.
    penalty: penalty points since its last admitted update.
    samples, seconds: sums over its admitted updates.
    cost: GLM for its usage, as far as it is known.
    banned: the reason why it gets no more work; None while it does.
    harmful: ids of the jobs in which it sent a harmful update, by chance or not, with the reasons.
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
        """Returns the samples a second, transfers included, over all admitted updates; None before the first."""
        return self.samples / self.seconds if self.seconds > 0 else None

    @property
    def sample_price(self) -> Decimal | None:
        """Returns the GLM that a sample costs; None while it is not known."""
        return self.cost / self.samples if self.samples and self.cost else None


class Providers:
    """Decides which providers get no more work in this run, and tells the backend. No other part decides that.

    A provider that is put out because of a result goes into the list of bans. Attempts without any result may be
    accidents: the backend counts them, and only for this run.

    Args:
        bans: the list of bans; None if providers have no identity that outlasts the run.
        backend: gives no more tasks to a provider that is put out; None if no backend is used.
        note: is called with a line for people when a provider is put out.
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
        """Returns the standings by provider id, in the order in which the providers became known."""
        return dict(self._standings)

    def is_banned(self, provider_id: str) -> bool:
        return provider_id in self._standings and self._standings[provider_id].banned is not None

    def relative_speed(self, client: int) -> float | None:
        """Returns the speed of the provider that trained this client last, relative to the median; None if unknown."""
        speeds = [standing.speed for standing in self._standings.values() if standing.speed]
        for standing in self._standings.values():
            if standing.client == client and standing.speed:
                return standing.speed / median(speeds)
        return None

    def admitted(
        self, provider: Provider, client: int, samples: int, seconds: float, cost: Decimal | None = None
    ) -> None:
        """Records an admitted update; puts the provider out, for this run, if its work costs far more than others'.

        Args:
            client: number of the client that it trained.
            samples: number of assigned samples.
            seconds: time that it took, on our clock.
            cost: GLM; None if it is not known.
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
        """Records a result that was not admitted; puts the provider out if it has too many penalty points."""
        standing = self._standing(provider)
        standing.penalty += PENALTIES[verdict.kind]
        if standing.penalty >= OUT and standing.banned is None:
            self.put_out(provider, verdict.reason)
            if self._bans is not None:
                self._bans.add(provider, verdict.reason)

    def reject(self, outcome: Outcome, verdict: Verdict) -> None:
        """Tells the backend that a refused result is not paid.

        A harmful update is paid until its provider is put out, because an honest update is harmful from time to time.
        """
        job_id = outcome.task.job.job_id
        if verdict.kind == "harmful" and outcome.provider is not None:
            self._standing(outcome.provider).harmful.append((job_id, verdict.reason))
        elif verdict.kind not in ("admitted", "no update") and self._backend is not None:
            self._backend.reject(job_id, verdict.reason)

    def put_out(self, provider: Provider, reason: str) -> None:
        """Gives a provider no more work in this run, and rejects the harmful updates that it sent."""
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
        """Learns the speeds again from the lines of `metrics.jsonl` that were written before this process started.

        Penalties are not learnt again: banned providers stay out, and every other one gets another chance.
        """
        for update in (update for line in rounds for update in line.updates if update.admitted):
            if update.provider_id is not None and update.client is not None:
                provider = Provider(update.provider_id, update.provider or "")
                self.admitted(provider, update.client, update.samples, update.seconds, update.cost_glm)

    def _standing(self, provider: Provider) -> Standing:
        return self._standings.setdefault(provider.id, Standing(provider.name))
