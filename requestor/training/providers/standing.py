"""Remembers what is known about the providers, and decides which of them get no more work."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from statistics import median

from requestor.backends import Backend, Outcome, Provider
from requestor.records import RoundEntry
from requestor.training.providers.bans import BanList
from requestor.training.providers.verdict import PROOF, RELATIVE, Verdict, VerdictKind

DEAREST = 10  # a provider is put out if its samples cost more than so many times the median of the others'
ENOUGH_KNOWN = 3  # number of other prices that are needed before a provider's price is compared with them
OUT = 6  # number of penalty points, without an admitted update between them, at which a provider is put out
# Nobody sends a copy, no work, or what the work does not give, by mistake: each of these puts a provider out at once.
# Relative evidence costs no points: others decide about it, too, and about one in six honest updates is harmful.
PENALTIES: Mapping[VerdictKind, int] = {
    "malformed": 3, "implausible": 3, "no work": OUT, "replay": OUT, "false": OUT, "outlier": 0, "harmful": 0,
}  # fmt: skip


@dataclass
class Standing:
    """One provider's record in this run.

    name: the provider's name.
    client: number of the client that the provider trained last; it holds the shards of this client. None before its
        first admitted update, and after another provider has trained the client.
    penalty: number of penalty points since its last admitted update.
    samples: number of assigned samples, summed over its admitted updates.
    seconds: time that its admitted updates took, in seconds, summed.
    cost: GLM for its admitted updates, as far as the cost is known.
    banned: the reason why the provider gets no more work; None if it may get work.
    doubted: (job id, reason) of each update that was refused on relative evidence only.
    """

    name: str
    client: int | None = None
    penalty: int = 0
    samples: int = 0
    seconds: float = 0.0
    cost: Decimal = Decimal(0)
    banned: str | None = None
    doubted: list[tuple[str, str]] = field(default_factory=list)

    @property
    def speed(self) -> float | None:
        """Returns the samples a second over all admitted updates, transfers included; None before the first update."""
        return self.samples / self.seconds if self.seconds > 0 else None

    @property
    def sample_price(self) -> Decimal | None:
        """Returns the GLM that one sample costs on average; None if it is not known."""
        return self.cost / self.samples if self.samples and self.cost else None


class Providers:
    """Decides by their results which providers get no more work in this run, and tells the backend.

    To put a provider out means to give it no more work in this run. A provider whose results are refused too often is
    put out. If the last one proves that it lies, the provider is also added to the list of bans, which later runs read.
    Attempts without any result may be accidents: the backend counts them itself, and only for the present run.

    Args:
        bans: the list of bans; None if the ids of providers mean nothing after the run.
        backend: gives no more tasks to a provider that is put out; None if no backend is used.
        note: is called with a line for people when a provider is put out.

    Raises ConfigurationError if the list of bans cannot be read.
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
        """Returns the standing of each provider by its id, in the order in which the providers became known."""
        return dict(self._standings)

    def is_banned(self, provider_id: str) -> bool:
        """Returns True if the provider gets no more work in this run."""
        return provider_id in self._standings and self._standings[provider_id].banned is not None

    def relative_speed(self, client: int) -> float | None:
        """Returns the speed of the provider that trained this client last, divided by the median of all known speeds.

        None if no provider is known to have trained this client.
        """
        speeds = [standing.speed for standing in self._standings.values() if standing.speed]
        for standing in self._standings.values():
            if standing.client == client and standing.speed:
                return standing.speed / median(speeds)
        return None

    def admitted(
        self, provider: Provider, client: int, samples: int, seconds: float, cost: Decimal | None = None
    ) -> None:
        """Notes that a provider's update was admitted, and clears its penalty points.

        If its samples cost more than `DEAREST` times the median of the others', the provider is put out of this run.

        Args:
            client: number of the client that the provider trained.
            samples: number of samples that were assigned to it.
            seconds: time that the work took, measured on this machine.
            cost: GLM that the work cost; None if it is not known.
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
        """Notes that a provider's result was not admitted, and adds the penalty points for it.

        If the provider has `OUT` points or more, it is put out of this run, and with a proof (`PROOF`) it is added to
        the list of bans.
        """
        standing = self._standing(provider)
        standing.penalty += PENALTIES[verdict.kind]
        if standing.penalty >= OUT and standing.banned is None:
            self.put_out(provider, verdict.reason)
            if self._bans is not None and verdict.kind in PROOF:
                self._bans.add(provider, verdict.reason)

    def reject(self, outcome: Outcome, verdict: Verdict) -> None:
        """Tells the backend that a refused result is worthless and is not to be paid.

        Does nothing if the verdict is "admitted" or "no update". An update that is refused on relative evidence is
        rejected only if its provider is put out, because that happens to honest updates from time to time.
        """
        job_id = outcome.task.job.job_id
        if verdict.kind in RELATIVE and outcome.provider is not None:
            self._standing(outcome.provider).doubted.append((job_id, verdict.reason))
        elif verdict.kind not in ("admitted", "no update") and self._backend is not None:
            self._backend.reject(job_id, verdict.reason)

    def put_out(self, provider: Provider, reason: str) -> None:
        """Gives a provider no more work in this run, and rejects the doubtful updates that it sent before.

        Args:
            provider: the provider; if it is out already, nothing happens.
            reason: the reason for people.
        """
        standing = self._standing(provider)
        if standing.banned is not None:
            return
        standing.banned = reason
        if self._backend is not None:
            self._backend.dismiss(provider.id)
            for job_id, why in standing.doubted:
                self._backend.reject(job_id, why)
        if self._note is not None:
            self._note(f"  {standing.name} gets no more work")

    def resume(self, rounds: Iterable[RoundEntry]) -> None:
        """Restores speeds, costs and clients from the entries that earlier processes of this run wrote.

        Penalty points are not restored: banned providers stay out, and every other provider begins without points.

        Args:
            rounds: the entries of `metrics.jsonl`, in order.
        """
        for update in (update for line in rounds for update in line.updates if update.admitted):
            if update.provider_id is not None and update.client is not None:
                provider = Provider(update.provider_id, update.provider or "")
                self.admitted(provider, update.client, update.samples, update.seconds, update.cost_glm)

    def _standing(self, provider: Provider) -> Standing:
        return self._standings.setdefault(provider.id, Standing(provider.name))
