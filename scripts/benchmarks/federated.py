#!/usr/bin/env python3
"""Measures the loss by training apart: federated averaging of the head against one machine that has all photos.

Both have the same data, features, starting head, local training and number of samples. Only three things vary: the
placement of the photos, the number of clients, and the form in which differences travel. The features of a pre-trained
MobileNetV2 are computed once, so that one configuration takes seconds.

    python scripts/benchmarks/federated.py tiny-ava [--seeds 0 1 2 3 4] [--clients 1 2 4 8 16] [--rounds 4]
        [--placements iid sorted] [--json]

`iid` shuffles the photos among clients, as training does; `sorted` gives each client photos of similar ratings, the
worst case. `int8` is the real format (`nima.wire.updates`), `fp32` is exact, `fp16` divides a tensor by its largest
value. SRCC and EMD are of the test photos. A gap is the central training's figure minus the federated one's for SRCC,
and the reverse for EMD, so that positive means worse. Figures are means over the seeds, with the standard error of the
gap.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from torch import Tensor

from nima import training
from nima.ava import read_ratings, read_split
from nima.model import Nima, find_backbone, initial_model
from nima.photos import open_photo
from nima.ratings import Metrics, compute_metrics
from nima.training import embed
from nima.weights import fetch_weights
from nima.wire import TrainingPlan, decode_update, default_plan, encode_update, schema_of
from requestor.training.rounds.aggregation import MemoryUpdate, weighted_mean
from requestor.training.rounds.vectors import flatten, moved

BACKBONE = "mobilenet_v2"
PLACEMENTS = ("iid", "sorted")
SAMPLE = 64  # photos from which the scale of the features is computed
Weights = dict[str, Tensor]
Wire = Callable[[Weights, Weights, int], tuple[Weights, int]]
"""Sends trained weights, given those that were received and a seed; returns the deltas that arrive, and the bytes."""


@dataclass(frozen=True)
class Photos:
    """Holds features float16 `[n, features]` and votes `[n, 10]` of n photos."""

    features: NDArray[np.float16]
    votes: NDArray[np.int64]

    def take(self, rows: NDArray[np.int64]) -> Photos:
        """Returns the photos at these indices."""
        return Photos(self.features[rows], self.votes[rows])


@dataclass(frozen=True)
class Configuration:
    """Describes one training. placement: `iid` or `sorted`, or `central` for one machine with all photos."""

    placement: str
    clients: int
    wire: str
    seed: int
    rounds: int


@dataclass(frozen=True)
class Row:
    """Holds the figures of one configuration. bytes: size of one client's update."""

    placement: str
    clients: int
    wire: str
    seed: int
    srcc: float
    emd: float
    bytes: int


def exact(received: Weights, trained: Weights, seed: int) -> tuple[Weights, int]:
    """Sends float32 unchanged."""
    return {name: trained[name] - received[name] for name in received}, sum(4 * v.numel() for v in received.values())


def halves(received: Weights, trained: Weights, seed: int) -> tuple[Weights, int]:
    """Divides each tensor by its largest value, and sends fp16 and one float32 for each tensor."""
    deltas = {}
    for name in received:
        delta = trained[name] - received[name]
        scale = delta.abs().max().clamp(min=1e-30)
        deltas[name] = (delta / scale).half().float() * scale
    return deltas, sum(2 * delta.numel() + 4 for delta in deltas.values())


def bytes_as_sent(received: Weights, trained: Weights, seed: int) -> tuple[Weights, int]:
    """Sends int8, as providers do."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "update.safetensors"
        encode_update(path, received, trained, seed)
        return decode_update(path, schema_of(received)), path.stat().st_size


WIRES: Mapping[str, Wire] = {"fp32": exact, "fp16": halves, "int8": bytes_as_sent}


class Bench:
    def __init__(self, ava: Path) -> None:
        ratings = read_ratings(ava)
        tested = set(read_split(ava / "splits" / "test.txt").image_ids.tolist())
        preparation = find_backbone(BACKBONE).preparation
        jpegs = [preparation.store(open_photo(ava / "images" / f"{i}.jpg")) for i in ratings.image_ids.tolist()]
        self._weights = fetch_weights(find_backbone(BACKBONE).weights)
        trained = [jpeg for i, jpeg in zip(ratings.image_ids.tolist(), jpegs, strict=True) if i not in tested]
        base = self._initial(seed=0, prior=None)
        training.standardise_features(base, trained[:SAMPLE])
        self._scale = base.feature_mean.clone(), base.feature_std.clone()
        photos = Photos(embed(base, jpegs), np.asarray(ratings.votes))
        is_test = np.array([i in tested for i in ratings.image_ids.tolist()])
        self.train, self.test = (photos.take(np.flatnonzero(part)) for part in (~is_test, is_test))

    def reach(self, what: Configuration) -> Row:
        """Trains one configuration, and tests it."""
        if what.placement == "central":
            return self._central(what.seed, what.rounds)
        return self._federated(what.placement, what.clients, what.wire, what.seed, what.rounds)

    def _central(self, seed: int, rounds: int) -> Row:
        """Trains with all samples on one machine."""
        model = self._start(seed)
        plan = self._plan(len(self.train.votes), seed)
        training.train_head(model, self.train.features, self.train.votes, replace(plan, steps=plan.steps * rounds))
        metrics = self._metrics(model)
        return Row("central", 1, "", seed, metrics.srcc_mean, metrics.emd_r1, 0)

    def _federated(self, placement: str, clients: int, wire: str, seed: int, rounds: int) -> Row:
        model = self._start(seed)
        parts = [self.train.take(rows) for rows in self._places(placement, clients, seed)]
        weights = {name: p.detach().clone() for name, p in model.trainable_parameters(0).items()}
        size = 0
        for number in range(rounds):
            updates = []
            for index, part in enumerate(parts):
                model.load_state_dict(weights, strict=False)
                plan = self._plan(len(part.votes), seed + 1_000_003 * number + index)
                training.train_head(model, part.features, part.votes, plan)
                trained = {name: p.detach().clone() for name, p in model.trainable_parameters(0).items()}
                delta, size = WIRES[wire](weights, trained, plan.seed)
                updates.append(MemoryUpdate(flatten(delta), len(part.votes)))
            weights = moved(weights, weighted_mean(updates))
        model.load_state_dict(weights, strict=False)
        metrics = self._metrics(model)
        return Row(placement, clients, wire, seed, metrics.srcc_mean, metrics.emd_r1, size)

    def _places(self, placement: str, clients: int, seed: int) -> list[NDArray[np.int64]]:
        photos = len(self.train.votes)
        if placement == "iid":
            order = np.random.default_rng(seed).permutation(photos)
        else:
            means = self.train.votes @ np.arange(1, 11) / self.train.votes.sum(axis=1)
            order = np.argsort(means, kind="stable")
        return np.array_split(order.astype(np.int64), clients)

    @staticmethod
    def _plan(photos: int, seed: int) -> TrainingPlan:
        return default_plan(photos, seed)

    def _initial(self, seed: int, prior: NDArray[np.float64] | None) -> Nima:
        return initial_model(BACKBONE, self._weights, seed, prior=prior, multi_level=True)

    def _start(self, seed: int) -> Nima:
        model = self._initial(seed, self.train.votes.sum(axis=0).astype(np.float64))
        model.feature_mean.copy_(self._scale[0])
        model.feature_std.copy_(self._scale[1])
        return model

    def _metrics(self, model: Nima) -> Metrics:
        model.eval()
        with torch.inference_mode():
            logits = model.rate(torch.from_numpy(self.test.features).float())
        return compute_metrics(logits.softmax(dim=1).numpy(), self.test.votes)


@dataclass(frozen=True)
class Gap:
    """Tells how much worse one configuration is than central training, over the seeds. bytes: size of an update."""

    placement: str
    clients: int
    wire: str
    srcc_gap: float
    srcc_error: float
    emd_gap: float
    emd_error: float
    bytes: int


def gaps(central: Sequence[Row], rows: Sequence[Row]) -> list[Gap]:
    """Returns the gaps of all rows to the central rows of the same seeds, as means over the seeds."""
    best = {row.seed: row for row in central}
    found = []
    for key in dict.fromkeys((row.placement, row.clients, row.wire) for row in rows):
        same = [row for row in rows if (row.placement, row.clients, row.wire) == key]
        srcc = np.array([best[row.seed].srcc - row.srcc for row in same])
        emd = np.array([row.emd - best[row.seed].emd for row in same])
        error = math.sqrt(len(same))
        deviation = (float(v.std(ddof=1)) / error if len(v) > 1 else 0.0 for v in (srcc, emd))
        found.append(Gap(*key, float(srcc.mean()), next(deviation), float(emd.mean()), next(deviation), same[0].bytes))
    return found


_bench: Bench  # the bench of this process, set by `_work_for`


def _work_for(bench: Bench) -> None:
    global _bench
    _bench = bench
    torch.set_num_threads(1)  # steps of 32 rows are too short for more than one core


def _reach(what: Configuration) -> Row:
    return _bench.reach(what)


def reach_all(bench: Bench, configurations: Sequence[Configuration]) -> list[Row]:
    """Runs every configuration on its own core; returns the rows in the order of the configurations."""
    console = Console(stderr=True)
    spawn = multiprocessing.get_context("spawn")  # in a forked process, PyTorch's threads would be missing
    with ProcessPoolExecutor(os.cpu_count(), spawn, _work_for, (bench,)) as pool:
        found = pool.map(_reach, configurations)
        shown = track(found, "Training", len(configurations), console=console, disable=not sys.stderr.isatty())
        return list(shown)


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("ava", type=Path, help="a folder in AVA's layout, with splits/test.txt")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--placements", choices=PLACEMENTS, nargs="+", default=PLACEMENTS)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    bench = Bench(options.ava)
    central = [Configuration("central", 1, "", seed, options.rounds) for seed in options.seeds]
    federated = [
        Configuration(placement, clients, wire, seed, options.rounds)
        for placement in options.placements
        for clients in options.clients
        for wire in WIRES
        for seed in options.seeds
    ]
    rows = reach_all(bench, [*central, *federated])
    alone, apart = rows[: len(central)], rows[len(central) :]
    found = gaps(alone, apart)
    reached = {"srcc": float(np.mean([row.srcc for row in alone])), "emd": float(np.mean([row.emd for row in alone]))}
    if options.json:
        machine = {"cpus": os.cpu_count(), "python": platform.python_version(), "torch": torch.__version__}
        about = {"machine": machine, "seeds": options.seeds, "rounds": options.rounds, "central": reached}
        print(json.dumps({**about, "gaps": [asdict(gap) for gap in found]}))
        return
    print(f"Central: SRCC {reached['srcc']:.4f}, EMD {reached['emd']:.4f}; {len(bench.train.votes)} photos.\n")
    print("| photos | clients | update | SRCC gap | EMD gap | bytes |\n|---|---|---|---|---|---|")
    for gap in found:
        print(
            f"| {gap.placement} | {gap.clients} | {gap.wire} | {gap.srcc_gap:+.4f} ± {gap.srcc_error:.4f} "
            f"| {gap.emd_gap:+.5f} ± {gap.emd_error:.5f} | {gap.bytes:,} |"
        )


if __name__ == "__main__":
    main()
