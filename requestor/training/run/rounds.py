"""Trains in federated rounds, each from the best model so far, until there is a reason to end."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from nima.model import Nima, checkpoint
from nima.ratings import RatingPairs
from nima.training import predict
from nima.wire import Shard, TrainingPlan, default_plan, read_shard
from requestor.audits import TrainingAudit
from requestor.backends import Backend
from requestor.errors import TrainingFailed
from requestor.records import END_REASONS, EndReason, RoundEntry, RunFolder, TrainingState
from requestor.training import RunConfig
from requestor.training.data import Dataset
from requestor.training.providers import Providers
from requestor.training.report import write_report
from requestor.training.rounds import (
    AGGREGATION_RULES,
    LEAST_HOLDOUT,
    AdmissionHistory,
    HoldoutEvaluator,
    HoldoutRoot,
    RoundReport,
    RoundSettings,
    forget_updates,
    load_server_state,
    run_round,
    save_server_state,
)
from requestor.training.run.context import RunContext
from requestor.training.run.preparation import store_model
from requestor.training.run.stopping import improves, reason_to_end, step_scale


class FederatedRounds:
    """The rounds of one process, and the best model so far, from which each begins.

    Args:
        context: the context of the run.
        backend: an entered backend.
        dataset: the data set; each of its clients gets one task in a round.
        base: SHA-256 and path of the model from which all work starts.
        providers: is told of every result and its verdict.
        state: the progress of the run; it is changed, and written after each round.
    """

    def __init__(
        self,
        context: RunContext,
        backend: Backend,
        dataset: Dataset,
        base: tuple[str, Path],
        providers: Providers,
        state: TrainingState,
    ) -> None:
        self._context, self._backend, self._providers, self._state = context, backend, providers, state
        self._dataset, self._base = dataset, base

    async def run(self) -> None:
        """Runs rounds until there is a reason to end, which is noted in the state, or until the run is stopped.

        Raises TrainingFailed if the rounds end without a trained model.
        """
        context, state = self._context, self._state
        reason = state.ended_because or self._reason_to_end()
        if reason is None and not context.stopping.is_set():
            await asyncio.to_thread(self._begin)
            context.progress.stage("Training", context.config.rounds, state.round)
            while reason is None and not context.stopping.is_set():
                await self._one_more()
                reason = self._reason_to_end()
        if reason is not None:
            if reason != state.ended_because and state.round > 0:
                context.progress.note(f"training ends after round {state.round}: {END_REASONS[reason]}")
            state.ended_because = reason
            context.save(state)

    def _reason_to_end(self) -> EndReason | None:
        return reason_to_end(self._context.config, self._state, self._backend.status().spent)

    def _begin(self) -> None:
        """Loads the best model and the hold-out."""
        config, folder, state = self._context.config, self._context.folder, self._state
        self._holdout = read_shard(self._dataset.holdout.path)
        begun = state.best_emd is not None
        self._model, _ = checkpoint.load(folder.checkpoint(state.best_round) if begun else self._base[1])
        self._best = {name: p.detach().clone() for name, p in self._model.trainable_parameters(config.blocks).items()}
        self._losses = _holdout_pairs(self._model, self._holdout).losses()
        # A hold-out that is too small judges nothing; the user was told so before anybody was hired.
        judges = len(self._holdout) >= LEAST_HOLDOUT
        self._gate = HoldoutEvaluator(self._model, self._holdout, config.blocks) if judges else None
        self._server = load_server_state(folder.server_state(state.best_round))
        start = base_of_rounds(folder, self._model, self._base, config.blocks)
        self._settings = RoundSettings(
            self._dataset.clients, plan_of(config, self._dataset), start, config.backbone, folder.path / "rounds",
            AGGREGATION_RULES[config.aggregation],
            audit=TrainingAudit(start[1], config.audit) if config.audit else None,
            root=HoldoutRoot(start[1], self._holdout) if judges else None, keeps_updates=True,
        )  # fmt: skip
        self._providers.resume(self._done())

    async def _one_more(self) -> None:
        """Runs the next round, and keeps its model if it is the best on the hold-out."""
        state, number, began = self._state, self._state.round + 1, time.monotonic()
        spent, weights = self._backend.status().spent, {name: w.clone() for name, w in self._best.items()}
        report = await run_round(
            replace(self._settings, plan=_scaled(self._settings.plan, step_scale(state))), self._backend, number,
            weights, partial(self._context.note_outcome, self._providers), server=self._server, evaluate=self._gate,
            history=AdmissionHistory.of(self._done()), providers=self._providers,
        )  # fmt: skip
        if report.moved:
            self._model.load_state_dict(weights, strict=False)
            pairs = await asyncio.to_thread(_holdout_pairs, self._model, self._holdout)
            state.round_seconds = time.monotonic() - began
            state.round_glm = str(self._backend.status().spent - spent)
            self._keep(number, report, pairs)
        else:
            self._note_failure(report)
        await asyncio.to_thread(forget_updates, self._settings, number)
        await asyncio.to_thread(write_report, self._context.folder.path)

    def _keep(self, number: int, report: RoundReport, pairs: RatingPairs) -> None:
        """Writes the model of a round to disk, and makes it the best one if it is."""
        folder, state, metrics, losses = self._context.folder, self._state, pairs.metrics(), pairs.losses()
        about = {"round": number, "split": self._context.split.as_json(), "holdout": metrics.as_dict()}
        checkpoint.save(folder.checkpoint(number), self._model, about)
        save_server_state(folder.server_state(number), report.server)
        folder.append_metrics(report.entry(metrics, self._backend.status().spent))
        state.failed = 0
        state.stalled = 0 if improves(self._losses, losses) else state.stalled + 1
        before = state.best_round
        if is_best := state.reach(number, metrics.emd_r1):
            trained = self._model.trainable_parameters(self._context.config.blocks)
            self._best = {name: p.detach().clone() for name, p in trained.items()}
            self._losses, self._server = losses, report.server
        self._context.save(state)
        of = f"/{self._context.config.rounds}" if self._context.config.rounds else ""
        self._context.progress.note(
            f"round {number}{of}: loss {report.loss:.4f}, hold-out SRCC {metrics.srcc_mean:.3f}, "
            f"EMD {metrics.emd_r1:.4f} (constant {metrics.constant_emd_r1:.4f}), "
            f"{report.admitted}/{len(report.updates)} updates{'' if is_best else f'; round {before} stays the best'}"
        )
        self._context.progress.advance_to(number)

    def _note_failure(self, report: RoundReport) -> None:
        """Records a round that did not change the model.

        Raises TrainingFailed if there is no trained model at all, and another round would not make one either.
        """
        state = self._state
        state.failed += 1
        self._context.folder.append_metrics(report.entry())
        self._context.save(state)
        self._context.progress.note(f"round {report.number}: {report.reason}; the model stays as it was")
        if state.best_emd is not None:
            return
        # If the first round fails for all providers, later rounds would fail, too.
        if not report.admitted:
            raise TrainingFailed(
                f"No update came back from the first round ({_first_reasons(report)}). Give the same command again "
                "to ask other providers."
            )
        if self._reason_to_end() is not None:
            raise TrainingFailed(
                f"No round brought enough updates ({_first_reasons(report)}). Give the same command again to try "
                "another round."
            )

    def _done(self) -> list[RoundEntry]:
        """Returns the entries of metrics.jsonl of the rounds that count, without the embedding.

        Later entries do not count: a round that was killed before its end is done again.
        """
        return [line for line in self._context.folder.metrics() if 1 <= line.round <= self._state.round]


def base_of_rounds(folder: RunFolder, model: Nima, base: tuple[str, Path], blocks: int) -> tuple[str, Path]:
    """Returns SHA-256 and path of the model in which providers replace the trained parameters by a round's weights.

    It is the run's base model, which providers may hold already. It is the best model instead if that differs from the
    base in parameters that the rounds do not train, as after rounds of an earlier command that trained more blocks.

    Args:
        folder: the run's folder.
        model: the best model.
        base: SHA-256 and path of the run's base model.
        blocks: number of blocks that the rounds train, as in `TrainingPlan`.
    """
    start, _ = checkpoint.load(base[1])
    trained, state = model.trainable_parameters(blocks), model.state_dict()
    same = all(torch.equal(v, state[name]) for name, v in start.state_dict().items() if name not in trained)
    return base if same else store_model(folder, model)


def plan_of(config: RunConfig, dataset: Dataset) -> TrainingPlan:
    """Returns the training plan of every client."""
    per_client = dataset.train_images // len(dataset.clients)
    return replace(default_plan(per_client, config.seed, config.blocks), proximal=config.proximal)


def _scaled(plan: TrainingPlan, factor: float) -> TrainingPlan:
    """Returns the plan with its learning rates multiplied by a factor."""
    return replace(plan, lr_backbone=factor * plan.lr_backbone, lr_head=factor * plan.lr_head)


def _holdout_pairs(model: Nima, holdout: Shard) -> RatingPairs:
    """Pairs the model's predictions for the photos of the hold-out with their votes."""
    assert holdout.votes is not None, "the hold-out has votes"
    return RatingPairs.of(predict(model, holdout.jpegs), holdout.votes)


def _first_reasons(report: RoundReport) -> str:
    return "; ".join(dict.fromkeys(report.failures()[:3])) or "no provider answered"
