"""Estimates the traffic, time and cost of a run before anything is spent.

The tasks are those that the run will issue, by the same plan (`requestor.planning`); how long they take, and what they
cost, follows from assumptions that the estimate names.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from typing import Any

import numpy as np

from nima.ava import read_ratings
from nima.model import checkpoint
from nima.wire import max_features_bytes, max_update_bytes, max_weights_bytes, schema_of
from requestor.evaluation import chosen_test_split
from requestor.golem import agreements_for
from requestor.money import BILLING_SLACK, EVALUATION_RESERVE, SHORTEST_ATTEMPT_SECONDS, show_glm
from requestor.planning import (
    JOB_CORE_SECONDS,
    SHARD_IMAGES,
    PlannedTask,
    RunSize,
    attempt_times,
    embedding_tasks,
    evaluation_tasks,
    round_tasks,
    speed_of,
    stage_seconds,
)
from requestor.terminal import Column, show_duration, table_lines, terminal_width
from requestor.training.assumptions import HOUR, Assumptions
from requestor.training.data import holdout_images
from requestor.training.options import OPTION_LIMITS, TrainOptions
from requestor.training.starting_model import model_like
from requestor.training.strategies import STRATEGIES, Strategy

ASSUMED_ROUNDS = 3  # number of rounds that are assumed where they go on until they no longer help
# SRCC of predicted and rated means on the 150 test photos of tiny-AVA, with each strategy's own number of rounds
# (`scripts/bench strategies`, docs/strategies.md). Nobody has measured what the rounds of a budget reach on AVA.
TINY_AVA_SRCC = {"auto": 0.888, "embed": 0.884, "federate": 0.877, "fine-tune": 0.888}
PUBLISHED_AVA_SRCC = (
    (0.510, "a MobileNet that was trained as a whole (NIMA, arXiv 1709.05424)"),
    (0.756, "a head on multi-level features of a larger network at full size (MLSP, arXiv 1904.01382)"),
)


@dataclass(frozen=True)
class Stage:
    """One stage of a run, as estimated.

    name: name for people.
    times: number of times that the run has this stage.
    tasks: number of tasks.
    sent, received: bytes that this machine sends to all providers, and receives from them.
    seconds: wall time.
    glm: cost of all providers.
    promised: GLM that must be left when it begins, so that every provider can be given a task.
    """

    name: str
    times: int
    tasks: int
    sent: int
    received: int
    seconds: float
    glm: Decimal
    promised: Decimal


@dataclass(frozen=True)
class Estimate:
    """The estimate of a run.

    run: the numbers of photos and bytes.
    strategy: the strategy.
    stages: the stages, in order; the figures of each are for one time.
    rounds: number of rounds in the estimate.
    affordable: number of rounds that the budget covers, the evaluation's reserve left aside, and that end in time.
    assumptions: the values that were assumed.
    """

    run: RunSize
    strategy: Strategy
    stages: tuple[Stage, ...]
    rounds: int
    affordable: int
    assumptions: Assumptions

    @property
    def sent(self) -> int:
        """Returns the bytes that are sent in all."""
        return sum(stage.times * stage.sent for stage in self.stages)

    @property
    def received(self) -> int:
        """Returns the bytes that are received in all."""
        return sum(stage.times * stage.received for stage in self.stages)

    @property
    def seconds(self) -> float:
        """Returns the wall time in all."""
        return sum(stage.times * stage.seconds for stage in self.stages)

    @property
    def glm(self) -> Decimal:
        """Returns the cost in all."""
        return sum((stage.times * stage.glm for stage in self.stages), Decimal(0))

    @property
    def agreements(self) -> int:
        """Returns the number of agreements, one after the other, that each provider signs."""
        return agreements_for(self.seconds)

    def as_json(self) -> dict[str, Any]:
        """Returns the content of `--json`: the stages, their sums, the assumptions, and the SRCC to expect."""
        rows = [{**asdict(stage), "glm": float(stage.glm), "promised": float(stage.promised)} for stage in self.stages]
        return {
            "stages": rows,
            "sent": self.sent,
            "received": self.received,
            "seconds": self.seconds,
            "glm": float(self.glm),
            "agreements_a_provider": self.agreements,
            "rounds": self.rounds,
            "affordable_rounds": self.affordable,
            "assumptions": {
                **asdict(self.assumptions),
                "price": self.assumptions.price.to_text(),
                "images_a_core_second": asdict(speed_of(self.run.backbone)),
                "job_core_seconds": JOB_CORE_SECONDS,
            },
            "srcc": {
                "measured_on_tiny_ava": TINY_AVA_SRCC[self.strategy.name],
                "published_on_ava": [{"srcc": srcc, "of": model} for srcc, model in PUBLISHED_AVA_SRCC],
            },
        }


def estimate(
    run: RunSize,
    strategy: Strategy,
    rounds: int | None,
    budget: Decimal,
    assumptions: Assumptions,
    hours: float | None = None,
) -> Estimate:
    """Estimates a run.

    Args:
        run: the numbers of photos and bytes.
        strategy: the strategy.
        rounds: number of federated rounds, 0 if there are none; None if they go on until they no longer help.
        budget: GLM that the run may cost.
        assumptions: the values that are assumed.
        hours: time after which no further round begins; None for no limit.
    """
    start = run.workers * assumptions.price.start
    embed = [_stage("embed", embedding_tasks(run), run, assumptions)] if strategy.embeds else []
    first = _stage("first round", round_tasks(run, 0, strategy.embeds), run, assumptions)
    later = _stage("each further round", round_tasks(run, 1, strategy.embeds), run, assumptions)
    last = _stage("evaluate", evaluation_tasks(run), run, assumptions)
    before = start + sum((stage.glm for stage in embed), Decimal(0))
    affordable = _affordable_rounds(budget, before, first, later)
    if hours is not None:
        left = 3600 * hours - sum(stage.seconds for stage in embed) - first.seconds
        affordable = min(affordable, 1 + max(0, math.floor(left / later.seconds)))
    count = max(1, min(ASSUMED_ROUNDS, affordable)) if rounds is None else rounds
    stages = [*embed, replace(first, times=min(1, count)), replace(later, times=max(0, count - 1)), last]
    stages = [stage for stage in stages if stage.times]
    stages[0] = replace(stages[0], glm=stages[0].glm + start)  # all providers are hired in the first stage
    return Estimate(run, strategy, tuple(stages), count, affordable, assumptions)


def estimate_run(options: TrainOptions, assumptions: Assumptions) -> Estimate:
    """Estimates the run with these options; of the photos' folder, it reads lists of ids and votes only.

    Raises ConfigurationError if the strategy has no rounds, and the user asks for some.
    """
    strategy, seed = STRATEGIES[options.strategy], options.seed
    blocks = strategy.blocks_for(options.blocks)
    image_ids = read_ratings(options.ava).image_ids
    tested = int(np.isin(image_ids, chosen_test_split(options.ava, options.test_ids, seed).image_ids).sum())
    train_images = len(image_ids) - tested - holdout_images(len(image_ids) - tested)
    run = size_of(train_images, tested, options.workers, options.backbone, blocks, assumptions.photo_bytes,
                  options.start)  # fmt: skip
    rounds = strategy.rounds_for(options.rounds)
    return estimate(run, strategy, rounds, options.budget, assumptions, options.hours)


def size_of(
    train_images: int, tested: int, workers: int, backbone: str, blocks: int, photo_bytes: int, start: str | None = None
) -> RunSize:
    """Returns the numbers of a run with so many photos; the model's files are as large as those of `model_like`."""
    model = model_like(backbone, start)
    trained = schema_of(model.trainable_parameters(blocks))
    return RunSize(
        train_images, tested, workers, backbone, blocks, photo_bytes,
        base=len(checkpoint.encode(model, {})),
        weights=max_weights_bytes(trained),
        update=max_update_bytes(trained),
        features=max_features_bytes(SHARD_IMAGES, model.head.in_features) // SHARD_IMAGES,
    )  # fmt: skip


def least_budget(found: Estimate) -> Decimal:
    """Returns the GLM that a budget needs at least, so that every provider can be given its first task.

    It is the most that the shortest attempts of all providers together may cost, plus the evaluation's reserve.
    """
    a, workers = found.assumptions, found.run.workers
    hired = a.price.at_most(SHORTEST_ATTEMPT_SECONDS + BILLING_SLACK, a.threads)
    return max(workers * hired, found.stages[0].promised) / (1 - EVALUATION_RESERVE)


def estimate_lines(found: Estimate, budget: Decimal) -> list[str]:
    """Returns an estimate as lines for people: stages, sum and budget, assumptions, and how good a model to expect."""
    a, speed = found.assumptions, speed_of(found.run.backbone)
    rounds = f", with {_rounds(found.rounds)}" if found.rounds else ""
    sums = ("in all" + rounds, found.sent, found.received, found.seconds, found.glm)
    rows = [
        [name, f"{sent / 1e6:.1f} MB", f"{received / 1e6:.1f} MB", show_duration(seconds), f"{glm:.5f}"]
        for name, sent, received, seconds, glm in [
            *((stage.name, stage.sent, stage.received, stage.seconds, stage.glm) for stage in found.stages), sums
        ]
    ]  # fmt: skip
    columns = (Column("stage"), *(Column(heading, "right") for heading in ("sent", "received", "time", "GLM")))
    lines = [
        *table_lines(columns, rows, terminal_width()),
        "",
        f"That is {found.glm / budget:.1%} of the budget of {show_glm(budget)}. {_about_rounds(found)}It assumes:",
        f"  providers with {a.threads} thread{'' if a.threads == 1 else 's'} "
        f"at {a.price.cpu_second * HOUR:.3f} GLM a CPU hour and "
        f"{a.price.wall_second * HOUR:.3f} GLM an hour, {a.price.start.normalize():f} GLM to start ({a.priced_by});",
        f"  {speed.frozen:.0f} photos a core and second, {speed.last:.0f} samples where the last blocks are trained, "
        f"{JOB_CORE_SECONDS:.0f} s to start a job;",
        f"  {a.uplink * 8 / 1e6:.0f} Mbit/s from here, {a.downlink * 8 / 1e6:.0f} to here, "
        f"{a.photo_bytes / 1000:.0f} kB a photo.",
        "",
        f"How good a model to expect: on tiny-AVA this strategy reached a test SRCC of "
        f"{TINY_AVA_SRCC[found.strategy.name]:.3f}. On AVA it was not measured; published there are",
        *(f"  {srcc:.3f} of {model}" for srcc, model in PUBLISHED_AVA_SRCC),
    ]
    if found.agreements > 1:
        lines += ["", f"Each provider signs {found.agreements} agreements for it, one after the other."]
    if (least := least_budget(found)) > budget:
        lines += [
            "",
            f"It does not fit: so that {found.run.workers} providers can be sure to be paid for their first task, "
            f"however long they take, it needs {show_glm(least)}.",
        ]
    elif found.rounds > found.affordable or found.glm > budget:
        lines += ["", "It does not fit: training stops when the money is gone, with what it has reached by then."]
    return lines


def _stage(name: str, tasks: Sequence[PlannedTask], run: RunSize, a: Assumptions) -> Stage:
    """Estimates a stage. Every provider bills the wall time of the whole stage, but CPU time only for its work."""
    seconds = stage_seconds(tasks, run.workers, a.threads, a.uplink, a.downlink)
    cpu = sum(JOB_CORE_SECONDS + task.core_seconds for task in tasks)
    glm = Decimal(str(run.workers * seconds)) * a.price.wall_second + Decimal(str(cpu)) * a.price.cpu_second
    promised = run.workers * max(_least_promise(task, a) for task in tasks)
    sent, received = sum(task.sent for task in tasks), sum(task.result for task in tasks)
    return Stage(name, 1, len(tasks), sent, received, seconds, glm, promised)


def _least_promise(task: PlannedTask, assumptions: Assumptions) -> Decimal:
    """Returns the most that the shortest attempt at a task may cost: the backend issues none for which less is left."""
    *_, shortest = attempt_times(False, task.sent, task.time.limit, task.time.usual)
    return assumptions.price.at_most(shortest.whole + BILLING_SLACK, assumptions.threads)


def _affordable_rounds(budget: Decimal, before: Decimal, first: Stage, later: Stage) -> int:
    """Returns how many rounds a budget covers: a round begins if all that it may cost is left, and the reserve."""
    left = budget * (1 - EVALUATION_RESERVE) - before
    if left < max(first.glm, first.promised):
        return 0
    left -= first.glm + max(later.glm, later.promised)
    most = OPTION_LIMITS["rounds"][1]
    if left < 0:
        return 1
    return min(most, 2 + math.floor(left / later.glm)) if later.glm else most


def _rounds(count: int) -> str:
    return f"{count} round{'' if count == 1 else 's'}"


def _about_rounds(found: Estimate) -> str:
    if found.strategy.rounds is None:
        return f"Rounds go on until they no longer help; the budget covers {found.affordable}. "
    return f"The budget covers {_rounds(found.affordable)}. " if found.rounds else ""
