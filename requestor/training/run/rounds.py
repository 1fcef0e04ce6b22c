"""Runs the federated rounds, from the current model to the last round, or until there is a reason to end earlier."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from pathlib import Path

from nima.model import checkpoint
from nima.ratings import Metrics, compute_metrics
from nima.training import predict
from nima.wire import TrainingPlan, default_plan, read_shard
from requestor.backends import Backend
from requestor.errors import TrainingFailed
from requestor.records import RoundEntry, RunFolder, TrainingState
from requestor.training import RunConfig
from requestor.training.data import Dataset
from requestor.training.providers import Providers
from requestor.training.report import write_report
from requestor.training.rounds import (
    AGGREGATION_RULES,
    AdmissionHistory,
    HoldoutEvaluator,
    RoundReport,
    RoundSettings,
    load_server_state,
    run_round,
    save_server_state,
)
from requestor.training.run.context import RunContext

FAILED_ROUNDS = 2  # number of failed rounds in a row after which the training ends: another one would fail, too


async def train(
    context: RunContext,
    backend: Backend,
    dataset: Dataset,
    base: tuple[str, Path],
    providers: Providers,
    state: TrainingState,
) -> None:
    """Runs the rounds that are not done yet. Raises TrainingFailed if they end without a trained model."""
    config, folder = context.config, context.folder
    if state.round == config.rounds or context.stopping.is_set():
        return
    plan = plan_of(config, dataset)
    holdout = await asyncio.to_thread(read_shard, dataset.holdout.path)
    assert holdout.votes is not None
    begun = state.best_emd is not None
    model, _ = checkpoint.load(folder.checkpoint(state.round) if begun else base[1])
    weights = {name: p.detach().clone() for name, p in model.trainable_parameters(plan.trainable_blocks).items()}
    gate = await asyncio.to_thread(HoldoutEvaluator, model, holdout, plan.trainable_blocks)
    providers.resume(_rounds_done(folder, state.round))
    server = load_server_state(folder.server_state(state.round))
    settings = RoundSettings(
        dataset.clients, plan, base, config.backbone, folder.path / "rounds", AGGREGATION_RULES[config.aggregation]
    )
    context.progress.stage("Training", config.rounds, state.round)

    failed = 0
    while state.round < config.rounds and not context.stopping.is_set():
        number = state.round + 1
        report = await run_round(
            settings, backend, number, weights, partial(context.note_outcome, providers), server=server,
            evaluate=gate, history=AdmissionHistory.of(_rounds_done(folder, state.round)), providers=providers,
        )  # fmt: skip
        server = report.server
        if not report.moved:
            failed += 1
            _note_failure(context, report)
            await asyncio.to_thread(write_report, folder.path)
            # If the first round fails for all providers, later rounds would fail, too.
            if state.best_emd is None and not report.admitted:
                raise TrainingFailed(
                    f"No update came back from the first round ({_first_reasons(report)}). Give the same command again "
                    "to ask other providers."
                )
            if failed < FAILED_ROUNDS:
                continue
            if state.best_emd is None:
                raise TrainingFailed(
                    f"No round brought enough updates ({_first_reasons(report)}). Give the same command again to try "
                    "another round."
                )
            context.progress.note("training ends here, with the best model so far")
            return
        failed = 0
        model.load_state_dict(weights, strict=False)
        predicted = await asyncio.to_thread(predict, model, holdout.jpegs)
        metrics = compute_metrics(predicted, holdout.votes)
        about = {"round": number, "split": context.split.as_json(), "holdout": metrics.as_dict()}
        checkpoint.save(folder.checkpoint(number), model, about)
        save_server_state(folder.server_state(number), server)
        _note_round(context, report, metrics, backend)
        state.reach(number, metrics.emd_r1)
        state.write(folder)
        await asyncio.to_thread(write_report, folder.path)
        context.progress.advance_to(number)


def plan_of(config: RunConfig, dataset: Dataset) -> TrainingPlan:
    """Returns the training plan of every client."""
    per_client = dataset.train_images // len(dataset.clients)
    return replace(default_plan(per_client, config.seed, config.strategy.blocks), proximal=config.proximal)


def _rounds_done(folder: RunFolder, done: int) -> list[RoundEntry]:
    """Returns the entries of metrics.jsonl up to the round `done`, without the embedding.

    Later entries do not count: a round that was killed before its end is done again.
    """
    return [line for line in folder.metrics() if 1 <= line.round <= done]


def _note_failure(context: RunContext, report: RoundReport) -> None:
    context.folder.append_metrics(report.entry())
    context.progress.note(f"round {report.number}: {report.reason}; the model stays as it was")


def _note_round(context: RunContext, report: RoundReport, metrics: Metrics, backend: Backend) -> None:
    context.folder.append_metrics(report.entry(metrics, backend.status().spent))
    context.progress.note(
        f"round {report.number}/{context.config.rounds}: loss {report.loss:.4f}, "
        f"hold-out SRCC {metrics.srcc_mean:.3f}, "
        f"EMD {metrics.emd_r1:.4f} (constant {metrics.constant_emd_r1:.4f}), "
        f"{report.admitted}/{len(report.updates)} updates"
    )


def _first_reasons(report: RoundReport) -> str:
    return "; ".join(dict.fromkeys(report.failures()[:3])) or "no provider answered"
