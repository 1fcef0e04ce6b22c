#!/usr/bin/env python3
"""Measures what hostile providers do to a model, with and without admission: every fault, up to half of the providers.

Eight providers train MobileNetV2's head in federated rounds, as the provider program does it. The hostile ones
misbehave as the devnet's faulty providers do. Both run in this process, so that a training takes seconds. "Without" is
plain federated averaging: everything that can be read as tensors of the right shapes is averaged. "With" is what
`nima-golem train` does.

    python scripts/benchmarks/robustness.py tiny-ava [--kinds flip scale] [--seeds 0 1 2] [--rounds 3] [--json]

Faults that send nothing (crash, hang, drop, refuse) are one row, `silent`, because they are the same for a round.
`slow` and `overcharge` send honest updates. `bad-features` spoils features and not updates, so its rows are of the
embedding; "without" then means without the spot check. scripts/benchmarks/fault_matrix.py runs every fault on a real
devnet.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from hostile_crowd import PROVIDERS, SILENT, Crowd
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from nima.ava import read_ratings, read_split
from nima.errors import NimaError
from nima.model import Nima, checkpoint, find_backbone, initial_model
from nima.ratings import compute_metrics
from nima.safe_io import sha256_of
from nima.training import embed, standardise_features, train_head
from nima.weights import fetch_weights
from nima.wire import default_plan, encode_weights, max_update_bytes, read_shard, schema_of
from requestor.backends import Outcome
from requestor.devnet.faults.kinds import KINDS
from requestor.errors import RequestorError
from requestor.training.data import Dataset, RatedPhotos, make_shards
from requestor.training.embedding import EmbeddingInputs, embed_and_train
from requestor.training.embedding.head import head_plan
from requestor.training.providers import Providers
from requestor.training.rounds import AdmissionHistory, HoldoutEvaluator, RoundReport, RoundSettings, run_round
from requestor.training.rounds.aggregation import MemoryUpdate, weighted_mean
from requestor.training.rounds.assignment import Frame, assign
from requestor.training.rounds.vectors import flatten, moved

BACKBONE = "mobilenet_v2"
HOSTILE = (1, 2, 3, 4)
SCALE_PHOTOS = 64
FEATURES = "bad-features"
NOTHING_SENT, ALL_SENT = ("crash", "hang", "drop", "refuse"), ("overcharge",)
FAULTS = (SILENT, *(kind for kind in KINDS if kind not in (*NOTHING_SENT, *ALL_SENT)))

Weights = dict[str, Tensor]


@dataclass(frozen=True)
class Setting:
    """Holds everything that all trainings of one seed share.

    Of the test photos, it has the features float16 `[n, features]` and the votes `[n, 10]`.
    """

    seed: int
    ava: Path
    store: Path
    base: tuple[str, Path]
    dataset: Dataset
    features: NDArray[np.float16]
    votes: NDArray[np.int64]

    @classmethod
    def prepare(cls, ava: Path, folder: Path, seed: int) -> Setting:
        store, home = folder / "store", folder / "home"
        store.mkdir(parents=True)
        home.mkdir()
        (folder / "known").mkdir()
        ratings, tested = read_ratings(ava), read_split(ava / "splits" / "test.txt").image_ids
        dataset = make_shards(
            RatedPhotos(ava, ratings, tested), PROVIDERS, BACKBONE, seed, store, home, lambda *_: None
        )  # fmt: skip
        holdout = read_shard(dataset.holdout.path)
        assert holdout.votes is not None
        model = initial_model(
            BACKBONE,
            fetch_weights(find_backbone(BACKBONE).weights),
            seed,
            prior=holdout.votes.sum(axis=0),
            multi_level=True,
        )
        standardise_features(model, holdout.jpegs[:SCALE_PHOTOS])
        draft = store / "draft"
        checkpoint.save(draft, model, {})
        sha256 = sha256_of(draft)
        shards = [read_shard(path) for path in dataset.test.paths]
        ids = np.concatenate([shard.image_ids for shard in shards])
        features = embed(model, [jpeg for shard in shards for jpeg in shard.jpegs])
        base = sha256, draft.rename(store / f"{sha256}.safetensors")
        return cls(seed, ava, store, base, dataset, features, np.asarray(ratings.select(ids).votes))

    def hostile(self, count: int) -> frozenset[int]:
        """Returns the numbers of the hostile providers; a larger count includes those of a smaller one."""
        return frozenset(np.random.default_rng(self.seed).permutation(PROVIDERS)[:count].tolist())

    def start(self) -> tuple[Nima, Weights]:
        """Returns the base model, and a copy of the weights that are trained."""
        model, _ = checkpoint.load(self.base[1])
        return model, {name: p.detach().clone() for name, p in model.trainable_parameters(0).items()}


@dataclass(frozen=True)
class Reached:
    """Holds the figures on the test photos. A model of NaN ranks nothing, and has no EMD."""

    srcc: float
    emd: float | None

    @classmethod
    def by(cls, setting: Setting, model: Nima) -> Reached:
        model.eval()
        with torch.inference_mode():
            predicted = model.rate(torch.from_numpy(setting.features).float()).softmax(dim=1).numpy()
        if not np.isfinite(predicted).all():
            return NOTHING
        metrics = compute_metrics(predicted, setting.votes)
        return cls(metrics.srcc_mean if np.isfinite(metrics.srcc_mean) else 0.0, metrics.emd_r1)


NOTHING = Reached(0.0, None)


async def guarded(setting: Setting, crowd: Crowd, rounds: int, folder: Path) -> Reached:
    """Trains as `nima-golem train --strategy federate` does."""
    model, weights = setting.start()
    gate = HoldoutEvaluator(model, read_shard(setting.dataset.holdout.path), 0)
    plan = default_plan(setting.dataset.train_images // PROVIDERS, setting.seed)
    settings = RoundSettings(setting.dataset.clients, plan, setting.base, BACKBONE, folder)
    providers, reports = Providers(backend=crowd), list[RoundReport]()
    for number in range(1, rounds + 1):
        report = await run_round(
            settings, crowd, number, weights, lambda *_: None, evaluate=gate, providers=providers,
            history=AdmissionHistory.of(r.entry() for r in reports),
        )  # fmt: skip
        reports.append(report)
    model.load_state_dict(weights, strict=False)
    return Reached.by(setting, model)


async def believing(setting: Setting, crowd: Crowd, rounds: int, folder: Path) -> Reached:
    """Trains by federated averaging without any check."""
    model, weights = setting.start()
    plan = default_plan(setting.dataset.train_images // PROVIDERS, setting.seed)
    for number in range(1, rounds + 1):
        path = folder / f"weights-{number}.safetensors"
        encode_weights(path, weights)
        largest = max_update_bytes(schema_of(weights))
        frame = Frame(number, plan, setting.base, BACKBONE, (sha256_of(path), path), largest)
        assignments = [assign(frame, index, client) for index, client in enumerate(setting.dataset.clients)]
        samples = {one.task.job.job_id: one.samples for one in assignments}
        updates = []
        async for outcome in crowd.run([one.task for one in assignments], 900.0):
            values = _read(outcome, weights)
            if values is not None:
                updates.append((outcome.task.job.job_id, values))
        if updates:
            mean = weighted_mean([MemoryUpdate(values, samples[job]) for job, values in sorted(updates, key=_name)])
            weights = moved(weights, mean)
        if not np.isfinite(flatten(weights)).all():
            return NOTHING
    model.load_state_dict(weights, strict=False)
    return Reached.by(setting, model)


def _name(update: tuple[str, NDArray[np.float32]]) -> str:
    return update[0]


def _read(outcome: Outcome, weights: Weights) -> NDArray[np.float32] | None:
    """Returns the delta without any check; None if it cannot be read at all."""
    if outcome.output is None:
        return None
    try:
        tensors = load_file(outcome.output)
        scales = tensors.pop("scales")
        deltas = {name: tensors[name].float() * scale for name, scale in zip(sorted(tensors), scales, strict=False)}
        return flatten({name: deltas[name].view(values.shape) for name, values in weights.items()})
    except (SafetensorError, KeyError, RuntimeError):
        return None


async def embedded(setting: Setting, crowd: Crowd, folder: Path) -> Reached:
    """Trains as `nima-golem train` does by default."""
    inputs = EmbeddingInputs(setting.dataset, read_ratings(setting.ava), setting.base, setting.seed)
    embedding = await embed_and_train(crowd, inputs, folder / "embedding", lambda *_: None)
    return Reached.by(setting, embedding.model)


def embedded_unchecked(setting: Setting, hostile: frozenset[int]) -> Reached:
    """Trains without the spot check.

    Hostile providers give every photo its neighbour's features, as `bad-features` does.
    """
    model, _ = setting.start()
    ratings = read_ratings(setting.ava)
    features, votes = [], []
    for number, client in enumerate(setting.dataset.clients):
        for path in client.paths:
            shard = read_shard(path)
            rows = embed(model, shard.jpegs)
            features.append(np.roll(rows, 1, axis=0) if number in hostile else rows)
            votes.append(ratings.select(shard.image_ids).votes)
    train_head(
        model, np.concatenate(features), np.concatenate(votes),
        head_plan(setting.dataset.train_images, setting.seed),
    )  # fmt: skip
    return Reached.by(setting, model)


@dataclass(frozen=True)
class Row:
    """Holds the result of one fault, one number of hostile providers (of eight), and one seed."""

    fault: str
    hostile: int
    seed: int
    admitted: Reached  # with admission
    averaged: Reached  # without admission


def measure(setting: Setting, fault: str, hostile: int, rounds: int) -> Row:
    """Measures one row.

    A training that ends with an error, as it may if no provider is left, counts as one that has learnt nothing.
    """
    torch.set_num_threads(1)
    chosen = setting.hostile(hostile)
    faults = dict.fromkeys(chosen, fault)

    def attempt(way: str) -> Reached:
        with tempfile.TemporaryDirectory(dir=setting.store.parent) as name:
            folder = Path(name)
            crowd = Crowd(setting.store, folder / "crowd", faults)
            try:
                if fault == FEATURES:
                    if way == "averaged":
                        return embedded_unchecked(setting, chosen)
                    return asyncio.run(embedded(setting, crowd, folder))
                train = guarded if way == "admitted" else believing
                return asyncio.run(train(setting, crowd, rounds, folder))
            except (NimaError, RequestorError) as error:
                print(f"{fault} × {hostile}, {way}: {error}", file=sys.stderr)
                return Reached.by(setting, setting.start()[0])

    return Row(fault, hostile, setting.seed, attempt("admitted"), attempt("averaged"))


def silence() -> None:
    """Silences the progress messages of the provider program."""
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - until the process ends


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ava", type=Path, help="a folder in AVA's layout, with splits/test.txt")
    parser.add_argument("--kinds", nargs="+", choices=FAULTS, default=list(FAULTS), metavar="KIND")
    parser.add_argument("--hostile", type=int, nargs="+", default=list(HOSTILE), help="how many of the 8 providers")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="nima-golem-bench-") as name:
        settings = [Setting.prepare(options.ava, Path(name) / f"seed-{seed}", seed) for seed in options.seeds]
        with ProcessPoolExecutor(options.processes, multiprocessing.get_context("spawn"), silence) as pool:
            # First the honest training of each seed, which caches the output of the frozen blocks for the other
            # trainings.
            honest = [
                done.result() for done in [pool.submit(measure, one, SILENT, 0, options.rounds) for one in settings]
            ]
            plain = [pool.submit(measure, one, FEATURES, 0, 0) for one in settings if FEATURES in options.kinds]
            running = [
                pool.submit(measure, one, kind, count, options.rounds)
                for kind in options.kinds
                for count in options.hostile
                for one in settings
            ]
            for number, _ in enumerate(as_completed(running), 1):
                print(f"\r{number} of {len(running)}", end="", file=sys.stderr, flush=True)
            print(file=sys.stderr)
            rows = [done.result() for done in running]
            features = [done.result() for done in plain]
    result = {
        "providers": PROVIDERS,
        "rounds": options.rounds,
        "seeds": options.seeds,
        "honest": means(honest),
        "honest_features": means(features) if features else None,
        "rows": [
            {"fault": kind, "hostile": count}
            | means([row for row in rows if (row.fault, row.hostile) == (kind, count)])
            for kind in options.kinds
            for count in options.hostile
        ],
    }
    if options.json:
        print(json.dumps(result))
        return
    print("| fault | hostile | SRCC with admission | without |\n|---|---|---|---|")
    for row in ({"fault": "none", "hostile": 0, **means(honest)}, *result["rows"]):
        print(f"| {row['fault']} | {row['hostile']} | {row['admitted']['srcc']:.3f} | {row['averaged']['srcc']:.3f} |")


def means(rows: Sequence[Row]) -> dict[str, object]:
    """Returns the means over the seeds, with the lowest SRCC. An EMD is None if one of them is."""

    def of(reached: Sequence[Reached]) -> dict[str, float | None]:
        emds = [one.emd for one in reached if one.emd is not None]
        return {
            "srcc": float(np.mean([one.srcc for one in reached])),
            "lowest_srcc": min(one.srcc for one in reached),
            "emd": float(np.mean(emds)) if len(emds) == len(reached) else None,
        }

    return {"admitted": of([row.admitted for row in rows]), "averaged": of([row.averaged for row in rows])}


if __name__ == "__main__":
    main()
