"""Carries out a training run, from the AVA folder to the finished model: shards, features, rounds, evaluation."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from nima.ava import Split, read_ratings
from requestor.backends import Backend
from requestor.errors import RunStopped
from requestor.records import RunFolder, TrainingState
from requestor.terminal import RunProgress
from requestor.training import RunConfig
from requestor.training.providers import Providers, ban_list
from requestor.training.run.context import RunContext
from requestor.training.run.embedding import embed
from requestor.training.run.evaluation import evaluate
from requestor.training.run.preparation import base_model, shard
from requestor.training.run.results import write_results
from requestor.training.run.rounds import train

PATIENCE = 30.0  # time without any provider, in seconds, after which the user is told what may be wrong


class TrainingRun:
    """Carries out one call of `nima-golem train`. `stop()` ends it after the round; the same command continues it."""

    def __init__(
        self,
        config: RunConfig,
        folder: RunFolder,
        backend: Backend,
        split: Split,
        progress: RunProgress,
    ) -> None:
        self.config = config
        self._context = RunContext(config, folder, split, progress)
        self._backend = backend

    def stop(self) -> bool:
        """Lets no further work begin. Returns True if providers are hired, whose present work is worth waiting for."""
        self._context.stopping.set()
        return bool(self._backend.status().providers)

    async def run(self) -> dict[str, Any]:
        """Carries out all stages that are not done yet, and returns the summary that `--json` prints.

        Raises TrainingFailed if there is no trained model at the end, RunStopped after `stop()`, and the errors of the
        stages for bad input.
        """
        context, folder = self._context, self._context.folder
        ledger = folder.ledger
        owing = self.config.backend == "golem" and (ledger.open_agreements() or ledger.open_allocations())
        if (summary := folder.read("summary.json")) and not owing:
            context.progress.note(f"{folder.path} is finished; choose another --run-dir to train again.")
            return dict(summary)
        started = time.monotonic()
        state = TrainingState.read(folder)
        ratings = read_ratings(self.config.ava)
        dataset = await asyncio.to_thread(shard, context, ratings)
        evaluation = folder.read("evaluation.json")
        if evaluation is None:
            base = await asyncio.to_thread(base_model, context, dataset, ratings)
            if context.stopping.is_set():
                raise RunStopped("Stopped before anybody was hired; the same command goes on from there.")
            async with self._backend as backend:
                ticker = asyncio.create_task(self._show_cost(backend))
                try:
                    bans = ban_list() if self.config.backend == "golem" else None
                    providers = Providers(bans, backend, context.progress.note)
                    if self.config.strategy.embeds:
                        await embed(context, backend, dataset, ratings, base, providers, state)
                    await train(context, backend, dataset, base, providers, state)
                    if not context.stopping.is_set():
                        evaluation = await evaluate(context, backend, dataset, ratings, providers, state)
                finally:
                    ticker.cancel()
                    if self.config.backend == "golem":
                        context.progress.stage("Ending agreements, waiting for bills")
        elif owing:  # the run was killed before all bills had come
            context.progress.note("The model is finished; settling the bills that are open.")
            await self._backend.settle()
        state.seconds += time.monotonic() - started
        state.write(folder)
        if evaluation is None:
            rounds = self.config.rounds
            where = f"after round {state.round} of {rounds}" if rounds else "before the evaluation"
            raise RunStopped(f"Stopped {where}; the same command goes on from there.")
        receipts = self._backend.receipts()
        return write_results(self.config, folder, context.split, dataset, state, evaluation, receipts)

    async def _show_cost(self, backend: Backend) -> None:
        """Shows the number of providers and the cost once a second; tells the user if no provider comes."""
        progress = self._context.progress
        waiting_since = time.monotonic()
        warned = False
        while True:
            status = backend.status()
            progress.cost(len(status.providers), status.spent, self.config.budget)
            if status.providers:
                waiting_since, warned = time.monotonic(), False
            elif not warned and time.monotonic() - waiting_since > PATIENCE:
                warned = True
                progress.note(
                    f"No provider has taken the work for {PATIENCE:.0f} s. The run goes on asking in subnet "
                    f"{self.config.subnet} for providers that take {self.config.network}, at or under --max-price "
                    f"{self.config.max_price}; `nima-golem offers` shows who is there, and at what price."
                )
            await asyncio.sleep(1)
