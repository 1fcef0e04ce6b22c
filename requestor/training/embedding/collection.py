"""Collects features: providers compute the frozen backbone's features of each photo, and this machine trains the head
on them, which takes seconds.

The result does not depend on the number of providers: the head is trained on the features of all photos at once, as if
one machine had computed them. Providers need no votes for this work. The features of some photos of every shard are
computed again on this machine.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from nima.ava import Ratings
from nima.errors import NimaError
from nima.model import Nima, checkpoint
from nima.ratings import Metrics
from nima.safe_io import sha256_of
from nima.wire import PROTOCOL, Job, Shard, decode_features, max_features_bytes, read_shard
from requestor.audits import AUDIT_SHARE, check_features
from requestor.backends import Backend, Outcome, RoundLimits, Task, items_until
from requestor.errors import RunStopped, TrainingFailed
from requestor.planning import TaskTime, forward_core_seconds
from requestor.training.data import Dataset
from requestor.training.embedding.feature_store import KeptFeatures, Part, parts_of
from requestor.training.embedding.head import evaluate_on, train_on
from requestor.training.providers import Providers, Verdict

PASSES = 3  # number of passes over the shards whose features are still missing
LEAST_SHARE = 0.5  # least share of the photos whose features must have come; with fewer, no head is trained


@dataclass(frozen=True)
class Embedding:
    """The result of an embedding.

    model: the base model with a trained head.
    path: path of this model's checkpoint.
    images: number of photos on whose features the head was trained.
    holdout: metrics on the photos that never left this machine.
    """

    model: Nima
    path: Path
    images: int
    holdout: Metrics


@dataclass(frozen=True)
class EmbeddingInputs:
    """Holds the data and the model of an embedding.

    dataset: the data set, whose clients' shards are sent to providers as they are, and embedded.
    ratings: the ratings of all photos in these shards; they stay on this machine.
    base: SHA-256 and path of the base model, whose features are standardised.
    seed: seed of the head's training.
    audit: share of every shard's photos whose features are computed again, 0 to 1.
    """

    dataset: Dataset
    ratings: Ratings
    base: tuple[str, Path]
    seed: int
    audit: float = AUDIT_SHARE


async def embed_and_train(
    backend: Backend,
    inputs: EmbeddingInputs,
    folder: Path,
    on_outcome: Callable[[Outcome, Verdict], None],
    *,
    providers: Providers | None = None,
    limits: RoundLimits | None = None,
    stopping: Callable[[], bool] = lambda: False,
) -> Embedding:
    """Has all training shards embedded by providers, then trains the head on the features.

    The call ends within a bounded time, whatever the backend does. Features that were checked are kept in the folder:
    a later call that finds them there does not ask for them again, and one that finds the finished model returns it.

    Args:
        backend: an entered backend.
        inputs: the data and the base model.
        folder: folder for the features and the model; it is made if it does not exist. If it exists, an earlier call
            with the same inputs has made it.
        on_outcome: is called with each outcome and its verdict.
        providers: decides about providers whose features were wrong; None for a new record of them.
        limits: limits of the time for one pass over the shards; None for those that follow from the work.
        stopping: is called after each outcome; if it returns True, no further outcome is waited for.

    Raises:
        TrainingFailed: Features of less than half of the photos came back.
        RunStopped: `stopping` returned True before all features had come back.
    """
    finished = folder / "model.safetensors"
    if finished.exists():
        model, metadata = await asyncio.to_thread(checkpoint.load, finished)
        return Embedding(model, finished, metadata["images"], Metrics(**metadata["holdout"]))
    model, _ = await asyncio.to_thread(checkpoint.load, inputs.base[1])
    parts, kept = parts_of(inputs.dataset), KeptFeatures(folder / "features")
    collection = _Collection(
        model, inputs, parts, kept, providers or Providers(backend=backend), limits, len(inputs.dataset.clients),
        on_outcome,
    )  # fmt: skip
    await collection.collect(backend, stopping)
    present = [(part, features) for part in parts if (features := kept.of(part.sha256))]
    if stopping() and len(present) < len(parts):
        raise RunStopped(
            f"Stopped with the features of {len(present)} of {len(parts)} shards; the same command goes on from there."
        )
    images, wanted = sum(part.images for part, _ in present), sum(part.images for part in parts)
    if images < LEAST_SHARE * wanted:
        raise TrainingFailed(
            f"Only {images} of {wanted} photos were embedded ({collection.reasons()}). Their features are kept: give "
            "the same command again to ask for the others."
        )
    await asyncio.to_thread(train_on, model, present, inputs.ratings, inputs.seed, folder / "gathered.f16")
    holdout = await asyncio.to_thread(read_shard, inputs.dataset.holdout.path)
    metrics = await asyncio.to_thread(evaluate_on, model, holdout)
    checkpoint.save(finished, model, {"images": images, "holdout": metrics.as_dict()})
    return Embedding(model, finished, images, metrics)


class _Refused(Exception):
    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.reason)
        self.verdict = verdict


class _Collection:
    """Collects the features of all parts, and keeps only those that were checked."""

    def __init__(
        self,
        model: Nima,
        inputs: EmbeddingInputs,
        parts: Sequence[Part],
        kept: KeptFeatures,
        providers: Providers,
        limits: RoundLimits | None,
        workers: int,
        on_outcome: Callable[[Outcome, Verdict], None],
    ) -> None:
        self._model = model
        self._inputs = inputs
        self._parts = parts
        self._kept = kept
        self._providers = providers
        self._limits = limits
        self._workers = workers
        self._on_outcome = on_outcome
        self._reasons: list[str] = []
        self._brought: dict[str, list[str]] = {}  # id of a provider → ids of its jobs whose features were admitted

    def reasons(self) -> str:
        """Returns the first three reasons why shards were not embedded."""
        return "; ".join(list(dict.fromkeys(self._reasons))[:3]) or "no provider answered"

    async def collect(self, backend: Backend, stopping: Callable[[], bool]) -> None:
        """Makes up to `PASSES` passes; each asks any provider for the features that are still missing."""
        for provider_id in filter(self._providers.is_banned, self._providers.standings()):
            self._kept.forget(provider_id)  # a run that was killed may not have deleted them
        for number in range(PASSES):
            missing = [part for part in self._parts if self._kept.of(part.sha256) is None]
            if not missing or stopping():
                return
            await self._pass(backend, {f"embed-{part.index:04d}-{number}": part for part in missing}, stopping)

    async def _pass(self, backend: Backend, waiting: dict[str, Part], stopping: Callable[[], bool]) -> None:
        """Runs the backend once, and closes the pass as a round is closed; late features are left to the next pass."""
        started, answered, admitted = time.monotonic(), list[float](), list[float]()
        tasks = [self._task(job_id, part) for job_id, part in waiting.items()]
        limits = self._limits or RoundLimits.of(tasks, self._workers)

        def closes() -> float:
            return started if stopping() else started + limits.closing_time(len(tasks), answered, admitted)

        async with aclosing(items_until(backend.run(tasks, limits.longest), closes)) as arriving:
            async for outcome in arriving:
                arrived = time.monotonic() - started
                part = waiting.pop(outcome.task.job.job_id, None)
                if part is None:
                    continue  # the outcome belongs to an earlier pass
                verdict = await asyncio.to_thread(self._judge, outcome, part)
                if verdict.kind != "no update":
                    answered.append(arrived)
                if verdict.admitted:
                    admitted.append(arrived)
                    assert outcome.provider is not None
                    self._brought.setdefault(outcome.provider.id, []).append(outcome.task.job.job_id)
                else:
                    self._disbelieve(outcome, verdict)
                self._on_outcome(outcome, verdict)
                self._put_out(backend, outcome, verdict)
        for task in tasks:
            if task.job.job_id in waiting and not stopping():
                late = backend.status().at_work.get(task.job.job_id)
                outcome = Outcome(task, late, error="it took much longer than the others")
                self._disbelieve(outcome, verdict := Verdict("no update", str(outcome.error)))
                self._on_outcome(outcome, verdict)

    def _task(self, job_id: str, part: Part) -> Task:
        job = Job(
            protocol=PROTOCOL, kind="embed", job_id=job_id, backbone=self._model.backbone, store="/",
            base=self._inputs.base[0], shards=(part.sha256,), plan=None, threads=0,
        )  # fmt: skip
        largest = max_features_bytes(part.images, self._model.head.in_features)
        time = TaskTime.of(forward_core_seconds(self._model.backbone, part.images), largest)
        return Task(job, (self._inputs.base[1], part.path), None, time.limit, largest, time.usual, part.client)

    def _disbelieve(self, outcome: Outcome, verdict: Verdict) -> None:
        """Notes the reason why features are missing; if they were wrong, deletes all earlier ones of the provider."""
        name = outcome.provider.name if outcome.provider else "nobody"
        self._reasons.append(f"{name}: {verdict.reason}")
        if outcome.provider is not None and verdict.kind != "no update":
            self._kept.forget(outcome.provider.id)

    def _put_out(self, backend: Backend, outcome: Outcome, verdict: Verdict) -> None:
        """Gives a provider that sent wrong features no more tasks, and rejects the features that it sent before.

        Does nothing if the features were admitted, or if none came.
        """
        if outcome.provider is None or verdict.kind in ("admitted", "no update"):
            return
        self._providers.refused(outcome.provider, verdict)
        self._providers.put_out(outcome.provider, verdict.reason)
        for job_id in self._brought.pop(outcome.provider.id, ()):
            backend.reject(job_id, verdict.reason)

    def _judge(self, outcome: Outcome, part: Part) -> Verdict:
        """Checks the features of an outcome; keeps the file if they are right, and deletes it otherwise."""
        try:
            if outcome.provider is not None and self._providers.is_banned(outcome.provider.id):
                return Verdict("no update", "what it sent before was refused")
            self._check(outcome, read_shard(part.path))
            assert outcome.provider is not None
            assert outcome.output is not None
            self._kept.keep(outcome.provider.id, part.sha256, outcome.output)
            return Verdict("admitted", "admitted")
        except _Refused as refused:
            return refused.verdict
        finally:
            if outcome.output is not None:
                outcome.output.unlink(missing_ok=True)

    def _check(self, outcome: Outcome, shard: Shard) -> None:
        """Raises `_Refused` if the outcome has no features, or if the checks show that they are not the shard's."""
        result = outcome.result
        if outcome.error is not None or result is None or outcome.output is None or outcome.provider is None:
            raise _Refused(Verdict("no update", outcome.error or "no features came back"))
        if (result.job_id, result.kind) != (outcome.task.job.job_id, "embed"):
            raise _Refused(Verdict("malformed", "the result is of another job"))
        try:
            claimed = decode_features(outcome.output, shard.image_ids, self._model.head.in_features)
            if sha256_of(outcome.output) != result.output_sha256:
                raise _Refused(Verdict("malformed", "the file is not the one that its result names"))
        except NimaError as error:
            raise _Refused(Verdict("malformed", str(error))) from error
        if wrong := check_features(self._model, shard, claimed, self._inputs.audit):
            raise _Refused(Verdict("false", wrong))
