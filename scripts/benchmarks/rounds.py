#!/usr/bin/env python3
"""Measures the requestor's own part of training, with up to 1,000 clients a round and all of AVA's ids.

It measures time and memory of every stage: reading the id list, sharding, planning, admission, aggregation, and a whole
round with simulated providers. No provider trains; the updates are made up, of MobileNetV2's size or its multi-level
head's. Memory is the peak above the memory of the process when the stage began. Aggregation is compared with numpy
reading the same files and adding them.

    python scripts/benchmarks/rounds.py [--clients 10 100 1000] [--photos 500] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from stand_in import StandIn
from torch import Tensor

from nima.ava import random_split, read_ratings
from nima.model import Nima, initial_model
from nima.safe_io import sha256_of
from nima.wire import (
    PROTOCOL,
    JobResult,
    Shard,
    decode_weights,
    default_plan,
    encode_update,
    encode_weights,
    max_update_bytes,
    schema_of,
)
from requestor.backends import Outcome, Provider, RoundLimits, Task
from requestor.money import Price, show_glm
from requestor.training.data import Client, RatedPhotos, make_shards
from requestor.training.providers import Verdict
from requestor.training.rounds import AGGREGATION_RULES, HoldoutEvaluator, RoundSettings, run_round
from requestor.training.rounds.admission import Admission
from requestor.training.rounds.aggregation import StoredUpdate, weighted_mean
from requestor.training.rounds.assignment import Frame, assign
from requestor.training.rounds.gate import PHOTOS

IDS = 255_530
IMAGES_A_CLIENT = 600
NOBODY, REFUSED = 0.05, 0.10  # shares of clients that never answer, and that send garbage
SECONDS_A_SAMPLE = 1 / 40  # time of a typical provider; others are faster or slower by a factor of about two
PRICE = Price(start=Decimal(0), wall_second=Decimal("0.005") / 3600, cpu_second=Decimal("0.025") / 3600)
# Goals for the weighted mean: the share of numpy's speed, and the peak memory above the model's.
GOAL_SPEED, GOAL_MEGABYTES = 0.7, 200.0

Weights = dict[str, Tensor]
Row = dict[str, Any]


class Meter:
    """Measures time and peak memory of the code within `stage`, one row for each stage."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    @contextmanager
    def stage(self, name: str, **facts: Any) -> Iterator[Row]:
        """Measures the code within the context, and adds a row with `facts` to `rows`."""
        row: Row = {"stage": name, **facts}
        before, peak, ended = resident(), 0, threading.Event()

        def watch() -> None:
            nonlocal peak
            while not ended.is_set():
                peak = max(peak, resident())
                ended.wait(0.005)

        watcher = threading.Thread(target=watch)
        watcher.start()
        started = time.perf_counter()
        try:
            yield row
        finally:
            row["seconds"] = time.perf_counter() - started
            peak = max(peak, resident())
            ended.set()
            watcher.join()
        row["megabytes"] = max(0, peak - before) / 1e6
        self.rows.append(row)
        print(shown(row), file=sys.stderr)


def resident() -> int:
    """Returns the bytes of memory that this process has now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def shown(row: Row) -> str:
    """Returns a row as one line of text."""
    facts = "  ".join(f"{name} {value}" for name, value in row.items() if name not in ("stage", "seconds", "megabytes"))
    return f"{row['stage']:<34} {row['seconds']:9.3f} s {row['megabytes']:8.1f} MB  {facts}"


def make_id_list(path: Path, rows: int) -> None:
    """Writes an `AVA.txt` of so many rows, with made-up votes."""
    generator = np.random.default_rng(0)
    votes = generator.multinomial(210, np.hanning(12)[1:-1] / np.hanning(12).sum(), rows)
    with path.open("w") as file:
        for index, row in enumerate(votes.tolist()):
            file.write(f"{index + 1} {index + 1} {' '.join(map(str, row))} 0 0 0\n")


def bench_data(meter: Meter, folder: Path, photos: int) -> None:
    """Measures reading the whole id list, and sharding some photos; every other photo would cost as much."""
    make_id_list(folder / "AVA.txt", IDS)
    with meter.stage("read the id list", rows=IDS):
        ratings = read_ratings(folder / "AVA.txt")
    with meter.stage("split the ids", rows=IDS):
        split = random_split(ratings.image_ids, seed=0, test_share=0.1)
    few = folder / "few"
    (few / "images").mkdir(parents=True)
    (few / "AVA.txt").write_text("".join((folder / "AVA.txt").read_text().splitlines(keepends=True)[:photos]))
    pixels = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    Image.fromarray(pixels).resize((640, 480)).save(few / "images" / "1.jpg", quality=90)
    for number in range(2, photos + 1):
        os.link(few / "images" / "1.jpg", few / "images" / f"{number}.jpg")
    for name in ("store", "home"):
        (folder / name).mkdir()
    tested = np.intersect1d(split.image_ids, np.arange(photos + 1))
    with meter.stage("shard", photos=photos) as row:
        make_shards(
            RatedPhotos(few, read_ratings(few / "AVA.txt"), tested), 10, "mobilenet_v2", 0, folder / "store",
            folder / "home", lambda done, total: None,
        )  # fmt: skip
    row["minutes_for_all_ids"] = round(row["seconds"] / photos * IDS / 60, 1)


@dataclass
class Crowd(StandIn):
    """Simulates providers: their updates, the time that each takes, and its cost.

    The local clock does not wait for them; the model of their speed decides the order in which they answer.
    """

    folder: Path
    weights: Weights
    spent: Decimal = Decimal(0)

    def __post_init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self._template = self.folder / "template.safetensors"
        change = {n: v + 1e-3 * torch.randn(v.shape, generator=generator) for n, v in self.weights.items()}
        encode_update(self._template, self.weights, change, seed=0)
        self._content = self._template.read_bytes()

    async def run(self, tasks: Sequence[Task], seconds: float) -> AsyncIterator[Outcome]:
        chance = random.Random(0)
        takes = {task.job.job_id: SECONDS_A_SAMPLE * samples_of(task) * chance.lognormvariate(0, 0.5) for task in tasks}
        for number, task in enumerate(sorted(tasks, key=lambda task: takes[task.job.job_id])):
            self.spent += PRICE.at_full_load(takes[task.job.job_id], threads=2)
            fate = chance.random()
            if fate < NOBODY:
                yield Outcome(task, None, error="no provider finished it before the round's deadline")
            else:
                yield self.outcome(task, number, takes[task.job.job_id], works=fate > NOBODY + REFUSED)

    def outcome(self, task: Task, number: int, seconds: float, works: bool = True) -> Outcome:
        path = self.folder / f"{task.job.job_id}.safetensors"
        content = bytearray(self._content if works else bytes(len(self._content)))
        content[-2:] = divmod(number, 127)  # so that no two updates are equal
        path.write_bytes(content)
        result = JobResult(
            PROTOCOL, task.job.job_id, "train", True, None, samples_of(task), seconds, 0.1, "update.safetensors",
            sha256_of(path),
        )  # fmt: skip
        return Outcome(task, Provider(f"0x{number}", f"provider-{number}"), result, path, seconds=seconds)


def samples_of(task: Task) -> int:
    assert task.job.plan is not None
    return task.job.plan.steps * task.job.plan.batch_size


def make_clients(count: int) -> list[Client]:
    names = [f"{number:064x}" for number in range(count)]
    return [Client((name,), (Path(f"{name}.safetensors"),), (IMAGES_A_CLIENT,)) for name in names]


def bench_clients(
    meter: Meter, folder: Path, size: str, weights: Weights, evaluate: Callable[..., Any] | None, count: int
) -> None:
    """Measures planning, admission, aggregation and a whole round, with so many clients."""
    facts = {"size": size, "clients": count}
    values = sum(tensor.numel() for tensor in weights.values())
    crowd = Crowd(folder, weights)
    weights_file = folder / "weights.safetensors"
    encode_weights(weights_file, weights)
    received = decode_weights(weights_file, schema_of(weights))
    plan = default_plan(IMAGES_A_CLIENT, seed=0)
    with meter.stage("plan", **facts):
        frame = Frame(
            1, plan, ("0" * 64, Path("base")), "mobilenet_v2", (sha256_of(weights_file), weights_file),
            max_update_bytes(schema_of(weights)),
        )  # fmt: skip
        assignments = [assign(frame, index, client) for index, client in enumerate(make_clients(count))]
        for assignment in assignments:
            assignment.task.job.to_json()

    updates: list[StoredUpdate] = []
    judging = 0.0
    with meter.stage("admit (making the files not counted)", **facts) as row:
        admission = Admission(received, evaluate)
        for number, assignment in enumerate(assignments):
            outcome = crowd.outcome(assignment.task, number, 1.0 + number % 7)
            assert outcome.output is not None
            started = time.perf_counter()
            verdict, update = admission.read(outcome, assignment.samples)
            assert update is not None, verdict
            updates.append(StoredUpdate.write(folder / f"stored-{number}", update, assignment.samples))
            judging += time.perf_counter() - started
            outcome.output.unlink()
    row["seconds"] = judging
    row["milliseconds_each"] = round(1000 * judging / count, 2)

    # Alternating, because the machine's speed may change over time.
    seconds: dict[str, list[float]] = {"numpy": [], "ours": []}
    for _ in range(3):
        started = time.perf_counter()
        read_and_add(updates, values)
        seconds["numpy"].append(time.perf_counter() - started)
        started = time.perf_counter()
        weighted_mean(updates)
        seconds["ours"].append(time.perf_counter() - started)
    with meter.stage("aggregate: numpy reads and adds", **facts) as row:
        read_and_add(updates, values)
    with meter.stage("aggregate: mean", **facts) as row:
        weighted_mean(updates)
    row["of_numpys_speed"] = round(min(seconds["numpy"]) / min(seconds["ours"]), 2)
    row["above_the_model"] = max(0.0, round(row["megabytes"] - 8 * values / 1e6, 1))
    for name, rule in AGGREGATION_RULES.items():
        if name != "mean":
            with meter.stage(f"aggregate: {name}", **facts):
                rule.server(rule.combine(updates), {})
    for stored in updates:
        stored.path.unlink()

    settings = RoundSettings(
        make_clients(count), plan, ("0" * 64, Path("base")), "mobilenet_v2", folder, limits=RoundLimits(seconds=3600)
    )
    with meter.stage("a whole round, simulated", **facts) as row:
        copies = {name: tensor.clone() for name, tensor in weights.items()}
        report = asyncio.run(run_round(settings, crowd, 1, copies, ignore, evaluate=evaluate))
    row.update(admitted=report.admitted, moved=report.moved, providers_cost=show_glm(crowd.spent))


def ignore(outcome: Outcome, verdict: Verdict) -> None:
    pass


def read_and_add(updates: Sequence[StoredUpdate], values: int) -> NDArray[np.float64]:
    total = np.zeros(values)
    for update in updates:
        total += np.fromfile(update.path, np.float32)
    return total


def bench_gate(meter: Meter, model: Nima, size: str, blocks: int) -> HoldoutEvaluator:
    """Measures one check on the hold-out, as every update gets it."""
    jpeg = model.preparation.store(Image.fromarray(np.random.default_rng(0).integers(0, 255, (256, 256, 3), np.uint8)))
    votes = np.random.default_rng(0).integers(1, 50, (PHOTOS, 10)).astype(np.int32)
    with meter.stage("gate: cache the hold-out", size=size, photos=PHOTOS):
        gate = HoldoutEvaluator(model, Shard(np.arange(PHOTOS), votes, [jpeg] * PHOTOS), blocks)
    weights = trained(model, blocks)
    with meter.stage("gate: judge one update", size=size, photos=PHOTOS):
        gate(weights)
    return gate


def trained(model: Nima, blocks: int) -> Weights:
    return {name: p.detach().clone() for name, p in model.trainable_parameters(blocks).items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--photos", type=int, default=500, help="photos to shard")
    parser.add_argument("--folder", type=Path, help="where the updates go: up to 14 GB [default: the temporary folder]")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    meter = Meter()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        bench_data(meter, folder, options.photos)
        for size, blocks in (("head", 0), ("mobilenet_v2", -1)):
            model = initial_model("mobilenet_v2", None, 0, multi_level=True)
            gate = bench_gate(meter, model, size, blocks)
            for count in options.clients:
                # Judging a thousand updates of a whole network takes too long; the stage above tells the cost of each.
                bench_clients(meter, folder, size, trained(model, blocks), gate if blocks == 0 else None, count)
    means = [row for row in meter.rows if row["stage"] == "aggregate: mean" and row["size"] == "mobilenet_v2"]
    met = all(row["of_numpys_speed"] >= GOAL_SPEED and row["above_the_model"] < GOAL_MEGABYTES for row in means)
    if options.json:
        machine = {"cpus": os.cpu_count(), "machine": platform.machine(), "numpy": np.__version__}
        print(json.dumps({"machine": machine, "goals_met": met, "stages": meter.rows}, indent=1))
    else:
        print("\n".join(shown(row) for row in meter.rows))
        print(
            f"The mean of MobileNetV2 updates at {GOAL_SPEED:.0%} of numpy's speed or more, in under "
            f"{GOAL_MEGABYTES:.0f} MB above the model: {'met' if met else 'NOT met'}."
        )


if __name__ == "__main__":
    main()
