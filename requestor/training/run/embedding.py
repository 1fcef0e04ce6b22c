"""Trains the head on features that providers compute; the result counts as the run's round 0."""

from __future__ import annotations

import asyncio
from pathlib import Path

from nima.ava import Ratings
from nima.model import checkpoint
from requestor.backends import Backend, Outcome
from requestor.records import OutcomeEntry, RoundEntry, TrainingState
from requestor.training.data import Dataset
from requestor.training.embedding import EmbeddingInputs, embed_and_train
from requestor.training.providers import Providers, Verdict, outcome_entry
from requestor.training.report import write_report
from requestor.training.run.context import RunContext


async def embed(
    context: RunContext,
    backend: Backend,
    dataset: Dataset,
    ratings: Ratings,
    base: tuple[str, Path],
    providers: Providers,
    state: TrainingState,
) -> None:
    """Has the photos embedded and trains the head, unless the run did so before.

    Raises the same errors as `embed_and_train`.
    """
    if state.best_emd is not None and context.folder.checkpoint(0).exists():
        return
    folder, progress = context.folder, context.progress
    kept = folder.path / "embedding"
    entries: list[OutcomeEntry] = []
    images = {
        shard: count for client in dataset.clients for shard, count in zip(client.shards, client.images, strict=True)
    }

    def shards_done() -> int:
        return len(list(kept.glob("features/*/*.safetensors")))

    def on_outcome(outcome: Outcome, verdict: Verdict) -> None:
        entries.append(outcome_entry(outcome, verdict, images[outcome.task.job.shards[0]]))
        context.note_outcome(providers, outcome, verdict)
        progress.advance_to(shards_done())
        if shards_done() == shards:
            progress.stage("Training the head")

    shards = sum(len(client.shards) for client in dataset.clients)
    progress.stage("Embedding", shards, shards_done(), at_once=context.config.workers)
    embedding = await embed_and_train(
        backend, EmbeddingInputs(dataset, ratings, base, context.config.seed, context.config.audit), kept, on_outcome,
        providers=providers, stopping=context.stopping.is_set,
    )  # fmt: skip
    metrics = embedding.holdout
    folder.append_metrics(
        RoundEntry(0, True, tuple(entries), holdout=metrics.as_dict(), spent_glm=backend.status().spent)
    )
    about = {"round": 0, "split": context.split.as_json(), "holdout": metrics.as_dict()}
    checkpoint.save(folder.checkpoint(0), embedding.model, about)
    state.reach(0, metrics.emd_r1)
    context.save(state)
    await asyncio.to_thread(write_report, folder.path)
    progress.note(
        f"features of {embedding.images} photos, and a head trained on them: "
        f"hold-out SRCC {metrics.srcc_mean:.3f}, EMD {metrics.emd_r1:.4f} (constant {metrics.constant_emd_r1:.4f})"
    )
