#!/usr/bin/env python3
"""What does Golem itself cost in time and bytes? The same rounds on a devnet's providers and as plain subprocesses.

Two providers fine-tune three blocks of MobileNetV2, one thread each, in both. The devnet's are hired through the
market, and everything travels through yagna. Without the hold-out gate, which is the requestor's own work and the same
for both.

    python scripts/bench_golem.py tiny-ava [--rounds 2] [--times 3] [--json]

`hire`: from the start until the rounds begin to be worked on, which for the first round is counted here and not there.
`travel`: the attempt's time less what the provider says that it computed: transfers, deployment, the program's start.
`overhead`: wall-clock of the rounds on Golem against that of the subprocesses; at most 1.10 is the goal for rounds of a
minute or longer. Bytes are those of the files that travelled; the least that can travel is each shard and base model
once, and in every round the weights out and the update back, 2 bytes a value.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from metered_backend import MeteredBackend

from nima import checkpoint
from nima.ava import read_ratings
from nima.backbones import get
from nima.files import sha256_of
from nima.jobs import default_plan
from nima.model import initial_model
from nima.shards import read_shard
from nima.splits import read_split
from nima.training import standardise_features
from nima.weights import fetch
from requestor.backends.base import Backend
from requestor.config import HiringConfig, golem_environment
from requestor.devnet.network import NetworkOptions
from requestor.devnet.supervision import start_detached, stop
from requestor.ledger import Ledger
from requestor.rounds import run_round
from requestor.run_dir import RunFolder
from requestor.runs import image_for, open_backend
from requestor.sharding import Dataset, make_shards

BACKBONE = "mobilenet_v2"
PROVIDERS = 2
BLOCKS = 3
UPLINK = 20e6 / 8  # bytes a second of a home


@dataclass(frozen=True)
class Figures:
    """Of one backend. Seconds; `rounds`: wall-clock of each; the rest are sums over providers."""

    hire: float
    rounds: list[float]
    farewell: float
    attempts: float
    work: float
    travel: float
    sent: int
    received: int


@dataclass(frozen=True)
class Work:
    """What is to be done, the same for both."""

    dataset: Dataset
    base: tuple[str, Path]
    rounds: int
    times: int

    @classmethod
    def prepare(cls, ava: Path, folder: Path, rounds: int, times: int) -> Work:
        for name in ("store", "home"):
            (folder / name).mkdir()
        tested = read_split(ava / "splits" / "test.txt").image_ids
        dataset = make_shards(
            ava, read_ratings(ava), tested, PROVIDERS, BACKBONE, 0, folder / "store", folder / "home",
            lambda done, total: None, votes=True,
        )  # fmt: skip
        model = initial_model(BACKBONE, fetch(get(BACKBONE).weights), 0, multi_level=True)
        standardise_features(model, read_shard(dataset.holdout.path).jpegs)
        draft = folder / "store" / "draft"
        checkpoint.save(draft, model, {})
        sha256 = sha256_of(draft)
        return cls(dataset, (sha256, draft.rename(folder / "store" / f"{sha256}.safetensors")), rounds, times)

    async def on(self, backend: Backend, folder: RunFolder) -> Figures:
        model, _ = checkpoint.load(self.base[1])
        weights = {name: p.detach().clone() for name, p in model.trainable_parameters(BLOCKS).items()}
        plan = default_plan(self.dataset.train_images // PROVIDERS, 0, BLOCKS)
        plan = replace(plan, steps=plan.steps * self.times)
        metered, began = MeteredBackend(backend), time.time()
        rounds: list[float] = []
        async with metered:
            for number in range(1, self.rounds + 1):
                started = time.monotonic()
                report = await run_round(
                    number, metered, self.dataset.clients, plan, self.base, BACKBONE, weights,
                    folder.path / "rounds", lambda outcome, verdict: None,
                )  # fmt: skip
                assert report.admitted == PROVIDERS, report.failures()
                rounds.append(time.monotonic() - started)
            done = time.monotonic()
        hire = _hiring(folder.ledger, began)
        rounds[0] -= hire
        return Figures(
            hire=hire,
            rounds=rounds,
            farewell=time.monotonic() - done,
            attempts=metered.attempts,
            work=metered.work,
            travel=metered.attempts - metered.work,
            sent=metered.sent,
            received=metered.received,
        )

    def least_bytes(self) -> tuple[int, int]:
        """What must be sent and received at the least."""
        model, _ = checkpoint.load(self.base[1])
        update = 2 * sum(p.numel() for p in model.trainable_parameters(BLOCKS).values()) * PROVIDERS * self.rounds
        shards = sum(path.stat().st_size for client in self.dataset.clients for path in client.paths)
        return shards + PROVIDERS * self.base[1].stat().st_size + update, update


def _hiring(ledger: Ledger, began: float) -> float:
    """Seconds until the last provider had an activity; 0 where nobody is hired."""
    times = [datetime.fromisoformat(e["time"]).timestamp() for e in ledger.entries() if e["event"] == "activity"]
    return max(times) - began if times else 0.0


def measure(backend: str, work: Work, folder: Path) -> Figures:
    environment = golem_environment() if backend == "golem" else dict(os.environ)
    config = HiringConfig(
        backend="golem" if backend == "golem" else "local", workers=PROVIDERS, budget=Decimal(2), max_price=Decimal(1),
        network=environment.get("YAGNA_PAYMENT_NETWORK", "hoodi"), subnet=environment.get("YAGNA_SUBNET", "public"),
    )  # fmt: skip
    run = RunFolder(folder, {"benchmark": backend})
    return asyncio.run(work.on(open_backend(config, run, environment, image_for(backend, environment)), run))


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("ava", type=Path, help="a folder in AVA's layout, with splits/test.txt")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--times", type=int, default=3, help="so many times the usual steps, for longer rounds")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="nima-golem-bench-") as name:
        folder = Path(name)
        work = Work.prepare(options.ava, folder, options.rounds, options.times)
        plain = measure("local", work, folder / "local")
        devnet = start_detached(NetworkOptions("bench-golem", providers=PROVIDERS))
        try:
            os.environ.update(devnet.environment())
            golem = measure("golem", work, folder / "golem")
        finally:
            stop(devnet)
        least = work.least_bytes()
    overhead = sum(golem.rounds) / sum(plain.rounds)
    result = {
        "machine": {"cpus": os.cpu_count(), "python": platform.python_version()},
        "overhead": overhead,
        "golem": asdict(golem),
        "subprocesses": asdict(plain),
        "sent_over_least": golem.sent / least[0],
        "received_over_least": golem.received / least[1],
        "uplink_seconds_at_20_mbit": golem.sent / UPLINK,
    }
    if options.json:
        print(json.dumps(result))
        return
    for name, figures in (("Golem", golem), ("subprocesses", plain)):
        rounds = ", ".join(f"{seconds:.1f}" for seconds in figures.rounds)
        print(
            f"{name}: hire {figures.hire:.1f} s, rounds {rounds} s, farewell {figures.farewell:.1f} s; "
            f"attempts {figures.attempts:.1f} s, of which work {figures.work:.1f} s and travel {figures.travel:.1f} s"
        )
    print(f"Overhead of the rounds: {overhead:.3f}")
    print(
        f"Sent {golem.sent / 1e6:.1f} MB ({golem.sent / least[0]:.3f} of the least), "
        f"received {golem.received / 1e6:.1f} MB ({golem.received / least[1]:.3f}); "
        f"{golem.sent / UPLINK:.0f} s at 20 Mbit/s"
    )


if __name__ == "__main__":
    main()
