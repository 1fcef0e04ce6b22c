"""A training run from the AVA folder to the finished model: shard, federated rounds, evaluation, report.

Each stage leaves its result in the run's folder before the next begins, and begins by looking there.
"""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from nima import checkpoint
from nima.ava import Ratings, read_ratings
from nima.backbones import get
from nima.files import sha256_of
from nima.jobs import PROTOCOL, Job, TrainingPlan, default_plan
from nima.metrics import Metrics, Pairs, evaluate
from nima.model import Nima, initial_model
from nima.predictions import max_bytes as max_prediction_bytes
from nima.shards import read_shard
from nima.splits import Split
from nima.training import predict, standardise_features
from nima.weights import fetch
from requestor.admission import History, Verdict
from requestor.aggregation import RULES
from requestor.backends.base import Backend, Outcome, Task
from requestor.bans import ban_list
from requestor.config import RunConfig
from requestor.errors import RunStopped, TrainingFailed
from requestor.holdout import Holdout
from requestor.prediction import collect_predictions
from requestor.progress import RunProgress
from requestor.providers import Providers
from requestor.results import write_predictions, write_results
from requestor.rounds import ATTEMPT_SECONDS, RoundReport, enough, run_round
from requestor.run_dir import RunFolder
from requestor.server_optimizer import load_state, save_state
from requestor.sharding import Dataset, make_shards

STANDARDISED = 64  # hold-out photos that the scale of the features is taken from
FAILED_ROUNDS = 2  # in a row, after which something is wrong that a third will not mend
PATIENCE = 30.0  # seconds without any provider after which the user is told what may be wrong


class TrainingRun:
    """One run of `nima-golem train`. `stop()` ends it after the present round; the same command goes on from there."""

    def __init__(
        self,
        config: RunConfig,
        folder: RunFolder,
        backend: Backend,
        split: Split,
        progress: RunProgress,
    ) -> None:
        self.config = config
        self._folder = folder
        self._backend = backend
        self._split = split
        self._progress = progress
        self._stopping = False

    def stop(self) -> None:
        self._stopping = True

    async def run(self) -> dict[str, Any]:
        """All stages that are still to be done.

        Returns the summary that `--json` prints. Raises TrainingFailed if no model came out, RunStopped after
        `stop()`, and what the stages raise on bad input.
        """
        if summary := self._folder.read("summary.json"):
            self._progress.note(f"{self._folder.path} is finished; choose another --run-dir to train again.")
            return dict(summary)
        started = time.monotonic()
        ratings = read_ratings(self.config.ava)
        dataset = await asyncio.to_thread(self._shard, ratings)
        base, plan = await asyncio.to_thread(self._prepare, dataset)
        state = self._folder.read("state.json") or {
            "round": 0,
            "best_round": 0,
            "best_emd": None,
            "seconds": 0.0,
        }
        evaluation = self._folder.read("evaluation.json")
        backend = self._backend
        if evaluation is None:
            async with backend:
                ticker = asyncio.create_task(self._show_cost(backend))
                try:
                    await self._train(backend, dataset, base, plan, state)
                    if not self._stopping:
                        evaluation = await self._evaluate(backend, dataset, ratings, state)
                finally:
                    ticker.cancel()
        state["seconds"] += time.monotonic() - started
        self._folder.write("state.json", state)
        if evaluation is None:
            raise RunStopped(
                f"Stopped after round {state['round']} of {self.config.rounds}; the same command goes on from there."
            )
        return write_results(self.config, self._folder, self._split, dataset, state, evaluation, backend.receipts())

    def _shard(self, ratings: Ratings) -> Dataset:
        store, home = self._folder.path / "store", self._folder.path / "holdout"
        if content := self._folder.read("dataset.json"):
            return Dataset.from_json(content, store, home)
        self._progress.stage("Reading photos", len(ratings))
        config = self.config
        dataset = make_shards(
            config.ava, ratings, self._split.image_ids, config.workers, config.backbone, config.seed, store, home,
            self._on_photo,
        )  # fmt: skip
        self._folder.write("dataset.json", dataset.to_json())
        for problem in dataset.skipped:
            self._progress.note(f"left out: {problem}")
        self._progress.note(
            f"{dataset.train_images} photos to train on, {dataset.holdout.images} held out, "
            f"{sum(dataset.test.images)} to test on"
        )
        return dataset

    def _on_photo(self, done: int, total: int) -> None:
        if self._stopping:
            raise RunStopped("Stopped while reading photos; the same command starts again with that.")
        self._progress.advance_to(done)

    def _prepare(self, dataset: Dataset) -> tuple[tuple[str, Path], TrainingPlan]:
        """The base model that every round starts from, in the store, and how clients train."""
        per_client = dataset.train_images // len(dataset.clients)
        plan = replace(default_plan(per_client, self.config.seed), proximal=self.config.proximal)
        if known := self._folder.read("base.json"):
            return (known["sha256"], self._folder.stored(known["sha256"])), plan
        weights = fetch(get(self.config.backbone).weights)
        prior = sum(
            (np.asarray(read_shard(path).votes).sum(axis=0) for c in dataset.clients for path in c.paths[:1]),
            start=np.zeros(10),
        )
        model = initial_model(self.config.backbone, weights, self.config.seed, prior=prior, multi_level=True)
        standardise_features(model, read_shard(dataset.holdout.path).jpegs[:STANDARDISED])
        base = self._store_model(model)
        self._folder.write("base.json", {"sha256": base[0]})
        return base, plan

    def _store_model(self, model: Nima) -> tuple[str, Path]:
        """A model as a content-addressed file for providers: no metadata, so that equal models have equal names."""
        draft = self._folder.path / "store" / "draft.safetensors"
        checkpoint.save(draft, model, {})
        sha256 = sha256_of(draft)
        draft.replace(self._folder.stored(sha256))
        return sha256, self._folder.stored(sha256)

    async def _train(
        self,
        backend: Backend,
        dataset: Dataset,
        base: tuple[str, Path],
        plan: TrainingPlan,
        state: dict[str, Any],
    ) -> None:
        holdout = await asyncio.to_thread(read_shard, dataset.holdout.path)
        assert holdout.votes is not None
        done = state["round"]
        model, _ = checkpoint.load(self._folder.checkpoint(done) if done else base[1])
        weights = {name: p.detach().clone() for name, p in model.trainable_parameters(plan.trainable_blocks).items()}
        gate = await asyncio.to_thread(Holdout, model, holdout, plan.trainable_blocks)
        providers = self._providers(backend)
        providers.resume(self._rounds_done(done))
        server = load_state(self._folder.server_state(done))
        self._progress.stage("Training", self.config.rounds, done)

        def on_outcome(outcome: Outcome, verdict: Verdict) -> None:
            self._on_outcome(outcome, verdict)
            provider = outcome.provider
            if provider is not None and providers.is_banned(provider.id):
                backend.dismiss(provider.id)
                self._progress.note(f"  {provider.name} gets no more work")

        failed = 0
        while done < self.config.rounds and not self._stopping:
            number = done + 1
            report = await run_round(
                number, backend, dataset.clients, plan, base, self.config.backbone, weights,
                self._folder.path / "rounds", on_outcome, rule=RULES[self.config.aggregation], server=server,
                evaluate=gate, history=History.of(self._rounds_done(done)), providers=providers,
            )  # fmt: skip
            server = report.server
            if not enough(report):
                failed += 1
                self._folder.append_metrics(
                    {"round": number, "moved": False, "admitted": report.admitted, "updates": report.updates}
                )
                self._progress.note(f"round {number}: {report.reason}; the model stays as it was")
                if not done and not report.admitted:  # what fails for everybody at once fails for the next ones, too
                    raise TrainingFailed(f"No update came back from the first round. {_first_reasons(report)}")
                if failed == FAILED_ROUNDS:
                    if not done:
                        raise TrainingFailed(f"No round brought enough updates. {_first_reasons(report)}")
                    self._progress.note("training ends here, with the best model so far")
                    return
                continue
            failed = 0
            done = number
            model.load_state_dict(weights, strict=False)
            predicted = await asyncio.to_thread(predict, model, holdout.jpegs)
            metrics = evaluate(predicted, holdout.votes)
            checkpoint.save(self._folder.checkpoint(number), model, {"round": number, "holdout": metrics.as_dict()})
            save_state(self._folder.server_state(number), server)
            self._note_round(report, metrics, backend)
            if state["best_emd"] is None or metrics.emd_r1 < state["best_emd"]:
                state["best_emd"], state["best_round"] = metrics.emd_r1, number
            state["round"] = number
            self._folder.write("state.json", state)
            self._progress.advance_to(number)

    def _providers(self, backend: Backend) -> Providers:
        """Who may be given tasks; those whom an earlier run caught are not hired at all."""
        providers = Providers(ban_list() if self.config.backend == "golem" else None)
        for provider_id in providers.standings():
            backend.dismiss(provider_id)
        return providers

    def _rounds_done(self, done: int) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl that count; a round that was killed before its end is done again."""
        return [line for line in self._folder.metrics() if line["round"] <= done]

    def _on_outcome(self, outcome: Outcome, verdict: Verdict) -> None:
        if not verdict.admitted:
            who = outcome.provider.name if outcome.provider else "nobody"
            self._progress.note(f"  {who}: {verdict.reason}")

    def _note_round(self, report: RoundReport, metrics: Metrics, backend: Backend) -> None:
        spent = backend.status().spent
        self._folder.append_metrics(
            {
                "round": report.number,
                "moved": True,
                "admitted": report.admitted,
                "loss": report.loss if math.isfinite(report.loss) else None,
                "holdout": metrics.as_dict(),
                "spent_glm": str(spent),
                "updates": report.updates,
            }
        )
        self._progress.note(
            f"round {report.number}/{self.config.rounds}: loss {report.loss:.4f}, "
            f"hold-out SRCC {metrics.srcc_mean:.3f}, "
            f"EMD {metrics.emd_r1:.4f} (constant {metrics.constant_emd_r1:.4f}), "
            f"{report.admitted}/{len(report.updates)} updates"
        )

    async def _evaluate(
        self, backend: Backend, dataset: Dataset, ratings: Ratings, state: dict[str, Any]
    ) -> dict[str, Any]:
        """Providers predict the test photos with the best model; the metrics are computed here, over all of them."""
        model, _ = checkpoint.load(self._folder.checkpoint(state["best_round"]))
        sha256, path = self._store_model(model)
        tasks = []
        for index, (shard, shard_path) in enumerate(zip(dataset.test.shards, dataset.test.paths, strict=True)):
            job = Job(
                protocol=PROTOCOL, kind="evaluate", job_id=f"evaluate-{index:04d}", backbone=self.config.backbone,
                store="/", base=sha256, shards=(shard,), plan=None, threads=0,
            )  # fmt: skip
            largest = max_prediction_bytes(dataset.test.images[index])
            tasks.append(Task(job, (path, shard_path), None, ATTEMPT_SECONDS, largest))
        self._progress.stage("Evaluating", len(tasks))
        done = 0

        def on_part(photos: int) -> None:
            nonlocal done
            done += 1
            self._progress.advance_to(done)

        parts, problems = await collect_predictions(backend, tasks, on_part)
        if problems:
            raise TrainingFailed(
                f"{len(problems)} of {len(tasks)} evaluation tasks failed ({problems[0]}). "
                "The trained model is kept: run the same command again to evaluate it."
            )
        image_ids, predicted = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        pairs = Pairs.of(predicted, ratings.select(image_ids).votes)
        write_predictions(self._folder.path / "predictions.csv", image_ids, predicted)
        evaluation = {"metrics": pairs.metrics().as_dict(), "intervals": pairs.intervals()}
        self._folder.write("evaluation.json", evaluation)
        return evaluation

    async def _show_cost(self, backend: Backend) -> None:
        """Once a second: who works, what it has cost; and a word where nobody turns up."""
        waiting_since = time.monotonic()
        warned = False
        while True:
            status = backend.status()
            self._progress.cost(len(status.providers), status.spent, self.config.budget)
            if status.providers:
                waiting_since, warned = time.monotonic(), False
            elif not warned and time.monotonic() - waiting_since > PATIENCE:
                warned = True
                self._progress.note(
                    f"No provider has taken the work for {PATIENCE:.0f} s: is anybody in subnet {self.config.subnet} "
                    f"that takes {self.config.network}, at or under --max-price {self.config.max_price}?"
                )
            await asyncio.sleep(1)


def _first_reasons(report: RoundReport) -> str:
    reasons = report.failures()
    return "; ".join(dict.fromkeys(reasons[:3]))
