"""Measures the quality and the cost of each strategy: embed + head, federated rounds of the head or of three blocks.

    python scripts/benchmarks/strategies.py tiny-ava [--seeds 0 1] [--rounds 6] [--tuned-rounds 3] [--central] [--json]

The data set is one that `nima-golem ava tiny` draws. Four providers run as real provider programs on this
machine, with one thread each. Core seconds are the processor time of those programs, with their start (mostly importing
torch). Bytes are counted as they would travel: a file of the store is sent once to each provider. GLM are the core
seconds at golemsp's default prices; each provider is paid for the time that it computes, not for the time that it
waits.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import numpy as np
from metered_backend import MeteredBackend

from nima.ava import Ratings, read_ratings, read_split
from nima.model import Nima, checkpoint, find_backbone, initial_model
from nima.ratings import Metrics, compute_metrics
from nima.safe_io import sha256_of
from nima.training import predict, standardise_features, train
from nima.weights import fetch_weights
from nima.wire import default_plan, read_shard
from requestor.backends.local import LocalBackend
from requestor.training.assumptions import GOLEM_DEFAULT_PRICE
from requestor.training.data import Dataset, RatedPhotos, make_shards
from requestor.training.embedding import EmbeddingInputs, embed_and_train
from requestor.training.rounds import HoldoutEvaluator, RoundSettings, run_round

BACKBONE = "mobilenet_v2"
PROVIDERS = 4
TUNED_BLOCKS = 3
ALL_BLOCKS = -1


@dataclass(frozen=True)
class Cost:
    """Holds the cost of all providers together: core seconds, and bytes to (`up`) and from (`down`) them."""

    core_seconds: float = 0.0
    up: int = 0
    down: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(Cost)))

    @property
    def glm(self) -> float:
        """Returns the price in GLM at golemsp's default prices."""
        return self.core_seconds * float(GOLEM_DEFAULT_PRICE.wall_second + GOLEM_DEFAULT_PRICE.cpu_second)


@dataclass(frozen=True)
class Row:
    """Holds the result of one strategy with one seed."""

    strategy: str
    seed: int
    srcc: float
    emd: float
    constant_emd: float
    cost: Cost


class Meter(MeteredBackend):
    """Counts tasks and bytes, and the processor time of local providers, too."""

    def __init__(self, inner: LocalBackend) -> None:
        super().__init__(inner)
        self._cores = _children_seconds()

    @property
    def cost(self) -> Cost:
        """Returns the cost since the beginning."""
        return Cost(_children_seconds() - self._cores, self.sent, self.received)

    async def __aenter__(self) -> Meter:
        await super().__aenter__()
        return self


class Bench:
    """Runs the strategies on one data set with one seed, which also decides which provider gets which photos."""

    def __init__(self, ava: Path, seed: int, folder: Path) -> None:
        self._seed = seed
        self._folder = folder
        for name in ("store", "home", "inbox"):
            (folder / name).mkdir(parents=True)
        self._ratings: Ratings = read_ratings(ava)
        tested = read_split(ava / "splits" / "test.txt").image_ids
        self._dataset: Dataset = make_shards(
            RatedPhotos(ava, self._ratings, tested), PROVIDERS, BACKBONE, seed, folder / "store", folder / "home",
            lambda *_: None,
        )  # fmt: skip
        self._holdout = read_shard(self._dataset.holdout.path)
        self._base = self._store(self._initial_model())

    async def embed(self, tuned_rounds: int) -> list[Row]:
        """Embeds and trains the head; then runs rounds of the last blocks from there, with the same providers."""
        async with self._providers() as providers:
            folder = self._folder / "embedding"
            folder.mkdir()
            inputs = EmbeddingInputs(self._dataset, self._ratings, self._base, self._seed)
            embedding = await embed_and_train(providers, inputs, folder, lambda *_: None)
            rows = [self._row("embed + head", embedding.model, providers.cost)]
            rows += await self._rounds("embed + head, then", embedding.model, TUNED_BLOCKS, tuned_rounds, providers)
        return rows

    def central(self) -> Row:
        """Fine-tunes the whole network on this machine after `embed`, with all photos.

        Its result is the best that averaging can reach.
        """
        model, _ = checkpoint.load(self._folder / "embedding" / "model.safetensors")
        paths = [path for client in self._dataset.clients for path in client.paths]
        photos = [read_shard(path) for path in paths]
        shards = [replace(shard, votes=self._ratings.select(shard.image_ids).votes) for shard in photos]
        began = time.process_time()
        train(model, shards, default_plan(self._dataset.train_images, self._seed, ALL_BLOCKS))
        cost = Cost(core_seconds=time.process_time() - began)
        return self._row("embed + head, then all blocks on one machine", model, cost)

    async def rounds(self, blocks: int, rounds: int) -> list[Row]:
        """Runs federated rounds from the beginning."""
        async with self._providers() as providers:
            model, _ = checkpoint.load(self._base[1])
            return await self._rounds("", model, blocks, rounds, providers)

    async def _rounds(self, begun: str, model: Nima, blocks: int, rounds: int, providers: Meter) -> list[Row]:
        plan = default_plan(self._dataset.train_images // PROVIDERS, self._seed, blocks)
        folder = self._folder / f"rounds-{begun}-{blocks}"
        folder.mkdir()
        weights = {name: p.detach().clone() for name, p in model.trainable_parameters(blocks).items()}
        gate = HoldoutEvaluator(model, self._holdout, blocks)
        settings = RoundSettings(self._dataset.clients, plan, self._base, BACKBONE, folder)
        what, rows = "the head" if blocks == 0 else f"the last {blocks} blocks", []
        for number in range(1, rounds + 1):
            await run_round(settings, providers, number, weights, lambda *_: None, evaluate=gate)
            model.load_state_dict(weights, strict=False)
            plural = "" if number == 1 else "s"
            rows.append(self._row(f"{begun} {number} round{plural} of {what}".strip(), model, providers.cost))
        return rows

    def _row(self, strategy: str, model: Nima, cost: Cost) -> Row:
        metrics = self._test(model)
        row = Row(strategy, self._seed, metrics.srcc_mean, metrics.emd_r1, metrics.constant_emd_r1, cost)
        print(json.dumps({**asdict(row), "glm": row.cost.glm}), file=sys.stderr, flush=True)
        return row

    def _test(self, model: Nima) -> Metrics:
        shards = [read_shard(path) for path in self._dataset.test.paths]
        ids = np.concatenate([shard.image_ids for shard in shards])
        predicted = np.concatenate([predict(model, shard.jpegs) for shard in shards])
        return compute_metrics(predicted, self._ratings.select(ids).votes)

    def _initial_model(self) -> Nima:
        """Returns the model from which every run begins."""
        paths = [path for client in self._dataset.clients for path in client.paths]
        image_ids = np.concatenate([read_shard(path).image_ids for path in paths])
        prior = self._ratings.select(image_ids).votes.sum(axis=0)
        model = initial_model(
            BACKBONE, fetch_weights(find_backbone(BACKBONE).weights), self._seed, prior=prior, multi_level=True
        )
        standardise_features(model, self._holdout.jpegs[:64])
        return model

    def _store(self, model: Nima) -> tuple[str, Path]:
        draft = self._folder / "store" / "draft"
        checkpoint.save(draft, model, {})
        sha256 = sha256_of(draft)
        return sha256, draft.rename(self._folder / "store" / f"{sha256}.safetensors")

    def _providers(self) -> Meter:
        return Meter(LocalBackend(PROVIDERS, self._folder / "inbox"))


@dataclass(frozen=True)
class Mean:
    """Holds the means of one strategy over the seeds. srcc_error: the standard error; 0 if there is one seed only."""

    strategy: str
    srcc: float
    srcc_error: float
    emd: float
    constant_emd: float
    core_seconds: float
    up: float
    down: float
    glm: float


def means(rows: Sequence[Row]) -> list[Mean]:
    """Returns the means, in the order in which the strategies ran."""
    found = []
    for strategy in dict.fromkeys(row.strategy for row in rows):
        same = [row for row in rows if row.strategy == strategy]
        cost, n = sum((row.cost for row in same), Cost()), len(same)
        srcc = np.array([row.srcc for row in same])
        found.append(
            Mean(
                strategy,
                srcc=float(srcc.mean()),
                srcc_error=float(srcc.std(ddof=1) / n**0.5) if n > 1 else 0.0,
                emd=float(np.mean([row.emd for row in same])),
                constant_emd=float(np.mean([row.constant_emd for row in same])),
                core_seconds=cost.core_seconds / n,
                up=cost.up / n,
                down=cost.down / n,
                glm=cost.glm / n,
            )
        )
    return found


def table(strategies: Sequence[Mean]) -> str:
    """Returns the means as a Markdown table."""
    lines = [
        "| strategy | test SRCC | test EMD | core seconds | MB up | MB down | GLM |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {one.strategy} | {one.srcc:.3f} | {one.emd:.4f} | {one.core_seconds:.0f} | {one.up / 1e6:.1f} "
        f"| {one.down / 1e6:.2f} | {one.glm:.5f} |"
        for one in strategies
    ]
    return "\n".join(lines)


def _children_seconds() -> float:
    """Returns the processor seconds of all child processes that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


async def measure(arguments: argparse.Namespace) -> list[Row]:
    rows: list[Row] = []
    for seed in arguments.seeds:
        with tempfile.TemporaryDirectory(prefix="nima-golem-bench-") as folder:
            bench = Bench(arguments.ava, seed, Path(folder))
            rows += await bench.embed(arguments.tuned_rounds)
            if arguments.central:
                rows.append(bench.central())
            rows += await bench.rounds(0, arguments.rounds)
            rows += await bench.rounds(TUNED_BLOCKS, arguments.tuned_rounds)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("ava", type=Path, help="a folder in AVA's layout, with splits/test.txt")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--rounds", type=int, default=6, help="of the head alone")
    parser.add_argument("--tuned-rounds", type=int, default=3, help="of the last blocks")
    parser.add_argument("--central", action="store_true", help="also fine-tune the whole network, on this machine")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = asyncio.run(measure(options))
    if options.json:
        print(
            json.dumps({"providers": PROVIDERS, "seeds": options.seeds, "strategies": [asdict(m) for m in means(rows)]})
        )
        return
    print(f"\n{table(means(rows))}\n\nPredicting the mean distribution: EMD {rows[0].constant_emd:.4f}.")


if __name__ == "__main__":
    main()
