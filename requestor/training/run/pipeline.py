"""Carries out a training run, from the AVA folder to the finished model: shards, features, rounds, evaluation."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from nima.ava import Ratings, Split, read_ratings
from requestor.backends import Backend
from requestor.errors import GolemError, RunStopped
from requestor.records import RunFolder, TrainingState
from requestor.terminal import RunProgress
from requestor.training import RunConfig
from requestor.training.data import Dataset
from requestor.training.providers import Providers, ban_list
from requestor.training.run.context import RunContext
from requestor.training.run.embedding import embed
from requestor.training.run.evaluation import cross_validate_few, evaluate, read_evaluation
from requestor.training.run.preparation import base_model, shard
from requestor.training.run.results import write_results
from requestor.training.run.rounds import FederatedRounds
from requestor.training.run.stopping import reason_to_end

SAVE_SECONDS = 5.0  # time between two writes of the time that the run has taken
PATIENCE = 30.0  # time without any provider, in seconds, after which the user is told what may be wrong


class TrainingRun:
    """Carries out one call of `nima-golem train`. `stop()` ends it after the round; the same command continues it.

    Args:
        config: the configuration.
        folder: the run's folder, locked.
        backend: has the tasks computed; it is not entered yet.
        split: the photos on which the run is tested.
        progress: shows the progress to people.
        again: True if the last command in this folder had the same options.
    """

    def __init__(
        self,
        config: RunConfig,
        folder: RunFolder,
        backend: Backend,
        split: Split,
        progress: RunProgress,
        again: bool = False,
    ) -> None:
        self.config = config
        self._state = TrainingState.read(folder)
        self._context = RunContext(config, folder, split, progress, earlier_seconds=self._state.seconds)
        self._backend = backend
        self._state.wanted = config.rounds
        if not (again and folder.read("summary.json")):
            self._state.failed = 0  # rounds that failed are tried again
        if not again:
            self._state.ended_because = None

    @property
    def folder(self) -> RunFolder:
        """Returns the run's folder."""
        return self._context.folder

    def stop(self) -> bool:
        """Lets no further work begin. Returns True if providers are hired, whose present work is worth waiting for."""
        self._context.stopping.set()
        return bool(self._backend.status().providers)

    async def run(self) -> dict[str, Any]:
        """Carries out all stages that are not done yet, and returns the summary that `--json` prints.

        Raises TrainingFailed if there is no trained model at the end, RunStopped after `stop()`, and the errors of the
        stages for bad input.
        """
        context, folder, state = self._context, self._context.folder, self._state
        ledger = folder.ledger
        owing = self.config.backend == "golem" and (ledger.open_agreements() or ledger.open_allocations())
        embedded = not self.config.strategy.embeds or folder.checkpoint(0).exists()
        trained = embedded and (state.ended_because or reason_to_end(self.config, state, ledger.spent()))
        evaluation = read_evaluation(folder, state) if trained else None
        if evaluation is not None and (summary := folder.read("summary.json")) and not owing:
            context.progress.note(
                f"{folder.path} is finished; it goes on with more --rounds, or choose another --run-dir."
            )
            return dict(summary)
        (folder.path / "summary.json").unlink(missing_ok=True)  # the run is no longer finished
        ratings = read_ratings(self.config.ava)
        dataset = await asyncio.to_thread(shard, context, ratings)
        context.save(state)
        if evaluation is None:
            evaluation = await self._train_and_evaluate(dataset, ratings)
        elif owing:  # the run was killed before all bills had come
            context.progress.note("The model is finished; settling the bills that are open.")
            await self._backend.settle()
        context.save(state)
        if evaluation is None:
            rounds = self.config.rounds
            where = "before the evaluation" if rounds == 0 else f"after round {state.round}"
            raise RunStopped(
                f"Stopped {where}{f' of {rounds}' if rounds else ''}; the same command goes on from there."
            )
        validation = await asyncio.to_thread(cross_validate_few, context, dataset, ratings)
        context.save(state)
        evaluation = {**evaluation, "cross_validation": validation}
        receipts = self._backend.receipts()
        return write_results(self.config, folder, context.split, dataset, state, evaluation, receipts)

    async def _train_and_evaluate(self, dataset: Dataset, ratings: Ratings) -> dict[str, Any] | None:
        """Does all that is left to do, and returns the evaluation; None if the run was stopped."""
        context = self._context
        base = await asyncio.to_thread(base_model, context, dataset, ratings)
        if context.stopping.is_set():
            raise RunStopped("Stopped before anybody was hired; the same command goes on from there.")
        try:
            return await self._hire(dataset, ratings, base)
        except GolemError as error:  # what was done so far is in the folder
            error.args = (f"{error} Then the same command goes on from there.",)
            raise

    async def _hire(self, dataset: Dataset, ratings: Ratings, base: tuple[str, Path]) -> dict[str, Any] | None:
        """Hires providers, and ends their agreements whatever happens."""
        context, config, state = self._context, self.config, self._state
        async with self._backend as backend:
            ticker = asyncio.create_task(self._show_cost(backend))
            try:
                bans = ban_list() if config.backend == "golem" else None
                providers = Providers(bans, backend, context.progress.note)
                if config.strategy.embeds:
                    await embed(context, backend, dataset, ratings, base, providers, state)
                await FederatedRounds(context, backend, dataset, base, providers, state).run()
                if context.stopping.is_set():
                    return None
                return await evaluate(context, backend, dataset, ratings, providers, state)
            finally:
                ticker.cancel()
                if config.backend == "golem":
                    context.progress.stage("Ending agreements, waiting for bills")

    async def _show_cost(self, backend: Backend) -> None:
        """Shows the number of providers and the cost once a second; tells the user if no provider comes.

        The time that the run has taken is written to disk now and then, so that a kill loses little of it.
        """
        progress = self._context.progress
        waiting_since = saved = time.monotonic()
        warned = False
        while True:
            status = backend.status()
            progress.cost(len(status.providers), status.spent, self.config.budget)
            if status.providers:
                waiting_since, warned = time.monotonic(), False
            elif not warned and time.monotonic() - waiting_since > PATIENCE:
                warned = True
                seen = status.absence or "nothing is known of the offers"
                progress.note(
                    f"No provider has taken the work for {PATIENCE:.0f} s ({seen}). The run goes on asking in subnet "
                    f"{self.config.subnet} for providers that take {self.config.network}, at or under --max-price "
                    f"{self.config.max_price}."
                )
            if time.monotonic() - saved > SAVE_SECONDS:
                saved = time.monotonic()
                self._context.save(self._state)
            await asyncio.sleep(1)
