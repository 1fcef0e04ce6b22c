#!/usr/bin/env python3
"""Runs all of AVA's ids through planning, three rounds of the default strategy, and the report, without photos.

    python scripts/benchmarks/ava_scale.py [AVA.txt] [--providers 10] [--rounds 3] [--json]

Without a list, one of AVA's length is made up. The providers are simulated: they take as long as the speeds in
`requestor/planning/speeds.py` say, on four threads, one of them as long as the slowest provider that the plan allows
for, and they send back random updates of the real size. Their clock is simulated, so nobody waits. The shards are empty
files of the real size. A round closes by its real rule, so it does not wait for the slowest one. Planning, admission,
aggregation, records and report are the real ones; their time and their memory above what the process had before are
measured. It fails if a task breaks its time limit.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from pathlib import Path

import numpy as np
import torch
from rounds import IDS, Meter, make_id_list, resident, shown
from stand_in import StandIn
from torch import Tensor

from nima.ava import Ratings, random_split, read_ratings
from nima.model import checkpoint, initial_model
from nima.ratings import RatingPairs, normalise_votes
from nima.safe_io import sha256_of
from nima.wire import PROTOCOL, UPDATE_FILE, JobResult, default_plan, encode_update
from requestor.backends import Outcome, Provider, RoundLimits, Task
from requestor.backends.base import BackendStatus
from requestor.planning import JOB_CORE_SECONDS, SHARD_IMAGES, SLOW_CORES, USUAL_THREADS, speed_of
from requestor.planning.speeds import training_core_seconds
from requestor.planning.stages import evenly
from requestor.records import RunFolder, TrainingState
from requestor.training import STRATEGIES, Assumptions
from requestor.training.data import Client, holdout_images
from requestor.training.estimate import Estimate, estimate, size_of
from requestor.training.providers import Providers
from requestor.training.report import write_report
from requestor.training.rounds import AdmissionHistory, RoundSettings, run_round
from requestor.training.run.results import write_predictions

BACKBONE = "mobilenet_v2"
TESTED = 19_928  # photos of AVA's official test split
BUDGET = Decimal(2)
Weights = dict[str, Tensor]


@dataclass
class SimulatedProvider:
    """A provider on a simulated clock.

    cores: number of its cores, each as fast as the one on which the speeds were measured.
    held: names of the files that it holds.
    kept: names of the shards whose frozen activations it keeps.
    """

    provider: Provider
    cores: float
    held: set[str] = field(default_factory=set)
    kept: set[str] = field(default_factory=set)


class SimulatedCrowd(StandIn):
    """Does all tasks of a round at once, one provider a task, and computes how long that would have taken.

    Attributes:
        seconds: simulated time of all rounds so far.
        sent, received: bytes of all rounds so far.
        spent: GLM of all rounds so far.
        closest: the largest share of its time limit that a task took.
    """

    def __init__(self, providers: Sequence[SimulatedProvider], folder: Path, weights: Weights) -> None:
        self._providers, self._folder, self._weights = providers, folder, weights
        self._dice = torch.Generator().manual_seed(0)
        self._assumptions = Assumptions()
        self.seconds, self.sent, self.received, self.spent, self.closest = 0.0, 0, 0, Decimal(0), 0.0

    async def run(self, tasks: Sequence[Task], seconds: float) -> AsyncIterator[Outcome]:
        a, uplink_free, working = self._assumptions, 0.0, Decimal(0)
        arrivals: list[tuple[float, Outcome]] = []
        for task, one in zip(tasks, self._providers, strict=True):
            size = task.bytes_without(one.held)
            uplink_free += size / a.uplink
            one.held.update(path.name for path in task.store)
            cores, outcome = await asyncio.to_thread(self._work, task, one)
            assert outcome.seconds < task.seconds, f"{task.job.job_id} would have been cut off"
            self.closest = max(self.closest, outcome.seconds / task.seconds)
            arrivals.append((uplink_free + outcome.seconds, outcome))
            working += Decimal(str(cores)) * a.price.cpu_second
            self.sent += size
        limits, times = RoundLimits.of(tasks, len(tasks)), list[float]()
        for when, outcome in sorted(arrivals, key=lambda arrival: arrival[0]):
            assert when < seconds, "the longest time of a round is too short for a slow provider"
            if when > limits.closing_time(len(tasks), times, times):
                yield Outcome(outcome.task, outcome.provider, error="the round closed before it came")
                continue
            times.append(when)
            assert outcome.output is not None
            self.received += outcome.output.stat().st_size
            yield outcome
        lasted = times[-1] if len(times) == len(tasks) else limits.closing_time(len(tasks), times, times)
        self.seconds += lasted
        self.spent += working + len(tasks) * Decimal(str(lasted)) * a.price.wall_second

    def _work(self, task: Task, one: SimulatedProvider) -> tuple[float, Outcome]:
        """Returns the core seconds of a task, and its outcome."""
        plan = task.job.plan
        assert plan is not None
        new = sum(SHARD_IMAGES for shard in task.job.shards if shard not in one.kept)
        one.kept.update(task.job.shards)
        samples = plan.steps * plan.batch_size
        cores = JOB_CORE_SECONDS + training_core_seconds(
            speed_of(BACKBONE), new, samples, plan.trainable_blocks, plan.augment
        )
        path = self._folder / f"{task.job.job_id}.safetensors"
        change = {
            name: value + 1e-4 * torch.randn(value.shape, generator=self._dice) for name, value in self._weights.items()
        }
        encode_update(path, self._weights, change, seed=0)
        seconds = JOB_CORE_SECONDS / min(1.0, one.cores) + (cores - JOB_CORE_SECONDS) / one.cores
        seconds += path.stat().st_size / self._assumptions.downlink
        result = JobResult(
            PROTOCOL, task.job.job_id, "train", True, None, samples, seconds, 0.06, UPDATE_FILE, sha256_of(path)
        )
        return cores, Outcome(task, one.provider, result, path, seconds=seconds)

    def dismiss(self, provider_id: str) -> None:
        raise AssertionError(f"{provider_id} is honest")

    def reject(self, job_id: str, reason: str) -> None:
        raise AssertionError(f"{job_id} was rejected: {reason}")

    def status(self) -> BackendStatus:
        return BackendStatus({one.provider.name for one in self._providers}, self.spent)


def make_clients(images: int, count: int, photo_bytes: int, store: Path) -> list[Client]:
    """Divides photos among clients; makes their shards as empty files, which take no space on the disk."""
    clients = []
    for number, own in enumerate(evenly(images, count)):
        shards = evenly(own, -(-own // SHARD_IMAGES))
        names = tuple(f"{number:032x}{index:032x}" for index in range(len(shards)))
        paths = tuple(store / f"{name}.safetensors" for name in names)
        for path, photos in zip(paths, shards, strict=True):
            with path.open("wb") as file:
                file.truncate(photos * photo_bytes)
        clients.append(Client(names, paths, tuple(shards)))
    return clients


def pairs(ratings: Ratings, rows: np.ndarray, skill: int) -> RatingPairs:
    """Makes predictions between the ratings of other photos and the right ones; with more skill, nearer to these."""
    rated = normalise_votes(ratings.votes[rows])
    share = skill / (skill + 3)
    return RatingPairs.of(share * rated + (1 - share) * np.roll(rated, 1, axis=0), rated)


async def simulate(
    meter: Meter, folder: RunFolder, crowd: SimulatedCrowd, settings: RoundSettings, weights: Weights, rounds: int,
    holdout: RatingPairs,
) -> None:  # fmt: skip
    """Runs the rounds, and writes their records."""
    providers = Providers()
    for number in range(1, rounds + 1):
        before = (crowd.seconds, crowd.sent, crowd.received, crowd.spent)
        with meter.stage(f"round {number}") as row:
            history = AdmissionHistory.of(folder.metrics())
            report = await run_round(
                settings, crowd, number, weights, lambda outcome, verdict: None, history=history, providers=providers
            )
            folder.append_metrics(report.entry(holdout.metrics(), crowd.spent))
            write_report(folder.path)
        assert report.moved, report.reason
        seconds, sent, received, spent = before
        row.update(
            admitted=report.admitted, samples=sum(entry.samples for entry in report.updates),
            simulated_seconds=round(crowd.seconds - seconds, 1), megabytes_sent=round((crowd.sent - sent) / 1e6, 1),
            megabytes_received=round((crowd.received - received) / 1e6, 1), glm=float(round(crowd.spent - spent, 5)),
        )  # fmt: skip


def bench(meter: Meter, id_list: Path, folder: Path, count: int, rounds: int) -> Estimate:
    """Runs everything; returns the estimate of the whole run."""
    with meter.stage("read the id list") as row:
        ratings = read_ratings(id_list)
    row["ids"] = len(ratings)
    with meter.stage("split"):
        split = random_split(ratings.image_ids, seed=0, test_share=TESTED / IDS)
        order = np.random.default_rng(0).permutation(np.flatnonzero(~np.isin(ratings.image_ids, split.image_ids)))
        held = order[: holdout_images(len(order))]
    images, assumptions, auto = len(order) - len(held), Assumptions(), STRATEGIES["auto"]
    with meter.stage("estimate"):
        run = size_of(images, len(split.image_ids), count, BACKBONE, auto.blocks, assumptions.photo_bytes)
        found = estimate(run, auto, None, BUDGET, assumptions)
    identity = {"ava": str(id_list.parent), "backbone": BACKBONE, "seed": 0}
    records = RunFolder(folder / "run", identity)
    TrainingState(wanted=rounds).write(records)
    with meter.stage("plan") as row:
        clients = make_clients(images, count, assumptions.photo_bytes, records.path / "store")
        model = initial_model(BACKBONE, None, 0, multi_level=True)
        base = records.path / "store" / "base.safetensors"
        base.write_bytes(checkpoint.encode(model, {}))
        weights = {name: p.detach().clone() for name, p in model.trainable_parameters(auto.blocks).items()}
    row["shards"] = sum(len(client.shards) for client in clients)
    plan = default_plan(images // count, 0, auto.blocks)
    settings = RoundSettings(clients, plan, (sha256_of(base), base), BACKBONE, records.path / "rounds")
    slow = SimulatedProvider(Provider("0x0", "slow-snail"), SLOW_CORES)
    usual = [SimulatedProvider(Provider(f"0x{n}", f"usual-{n}"), USUAL_THREADS) for n in range(1, count)]
    for one, client in zip([slow, *usual], clients, strict=True):
        one.held.update(path.name for path in (base, *client.paths))  # as after the embedding
    crowd = SimulatedCrowd([slow, *usual], records.path / "inbox", weights)
    asyncio.run(simulate(meter, records, crowd, settings, weights, rounds, pairs(ratings, held, 6)))
    meter.rows[-1]["closest_to_its_limit"] = round(crowd.closest, 2)
    with meter.stage("evaluate and report") as row:
        tested = pairs(ratings, np.flatnonzero(np.isin(ratings.image_ids, split.image_ids)), 9)
        write_predictions(records.path / "predictions.csv", split.image_ids, tested.predicted.astype(np.float32))
        records.write("evaluation.json", {"metrics": tested.metrics().as_dict(), "intervals": tested.intervals()})
        page = write_report(records.path)
    row["report_kilobytes"] = round(page.stat().st_size / 1000)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("id_list", type=Path, nargs="?", help="AVA.txt [default: a made-up list of the same length]")
    parser.add_argument("--providers", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    meter = Meter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "ava").mkdir()
        id_list = folder / "ava" / "AVA.txt"
        if options.id_list is None:
            make_id_list(id_list, IDS)
        else:
            id_list.symlink_to(options.id_list.resolve())
        found = bench(meter, id_list, folder, options.providers, options.rounds)
    print(f"memory of the process at the end: {resident() / 1e6:.0f} MB", file=sys.stderr)
    if options.json:
        print(json.dumps({"run": asdict(found.run), "stages": meter.rows, "estimate": found.as_json()}, indent=1))
    else:
        print("\n".join(shown(row) for row in meter.rows))


if __name__ == "__main__":
    main()
