#!/usr/bin/env python3
"""Measures what Golem costs in time and bytes: the same rounds on a devnet's providers and as plain subprocesses.

In both, two providers fine-tune three blocks of MobileNetV2, with one thread each. The devnet's providers are hired
through the market, and everything travels through yagna. The hold-out gate is left out, because it is the requestor's
own work and the same for both.

    python scripts/benchmarks/golem.py tiny-ava [--rounds 2] [--times 3] [--json]

A provider's time, from the start until the last round is over, is split into `negotiation` (until it has an activity),
`deployment` (of the image), `transfer` (all files, both ways), `program` (its start: importing torch, loading the
model), `computing` (the working time that it reports) and `waiting` (the rest: for the market's intervals, for other
providers, and for the requestor). Subprocesses have no negotiation and no deployment, and their transfers are hard
links, which count as program. `overhead` is the wall-clock time of the rounds on Golem, without the hiring before the
first, divided by that of the subprocesses; the goal is at most 1.10 for rounds of a minute or longer.

Bytes are those of files, jobs and results. The least that can travel is each shard and base model once, and in every
round the weights out, 2 bytes per value, and the update back, 1 byte per value.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from pathlib import Path

from metered_backend import Exchange, MeteredBackend
from yapapi import events

from nima.ava import read_ratings, read_split
from nima.model import checkpoint, find_backbone, initial_model
from nima.safe_io import sha256_of
from nima.training import standardise_features
from nima.weights import fetch_weights
from nima.wire import default_plan, read_shard
from requestor.backends import Backend, HiringConfig, image_for, open_backend
from requestor.backends.golem import GolemBackend
from requestor.devnet import NetworkOptions, start_devnet, stop_devnet
from requestor.golem import chosen_network, chosen_subnet
from requestor.records import RunFolder
from requestor.setup import golem_environment
from requestor.training.data import Dataset, RatedPhotos, make_shards
from requestor.training.rounds import RoundSettings, run_round

BACKBONE = "mobilenet_v2"
PROVIDERS = 2
BLOCKS = 3
UPLINK = 20e6 / 8  # bytes per second of a home connection
PARTS = ("negotiation", "deployment", "transfer", "program", "computing")
PHASES = {"Deploy": "deployment", "Start": "deployment", "Run": "program"}  # by command; others are transfers


class Phases:
    """Collects the times of yapapi's events: when each provider was hired, by agreement, and how its time was spent.

    It replaces the backend's own listener, and passes every event on to it.
    """

    def __init__(self, backend: GolemBackend) -> None:
        self._listener = backend._on_event
        self._last: dict[str, float] = {}
        self.hired: dict[str, float] = {}
        self.seconds = dict.fromkeys(PARTS, 0.0)
        setattr(backend, "_on_event", self)  # noqa: B010 - for mypy, which knows that this is a method

    def __call__(self, event: events.Event) -> None:
        self._listener(event)
        if not isinstance(event, events.ActivityCreated | events.ScriptSent | events.CommandExecuted):
            return
        agreement, now = event.agreement.id, time.monotonic()
        if isinstance(event, events.ActivityCreated):
            self.hired[agreement] = now
        if isinstance(event, events.CommandExecuted):
            phase = PHASES.get(type(event.command).__name__, "transfer")
            self.seconds[phase] += now - self._last[agreement]
        self._last[agreement] = now


@dataclass(frozen=True)
class Figures:
    """Holds the figures of one backend; times are in seconds.

    rounds: wall-clock time of each round, without the hiring before the first. hire: time of that hiring. farewell:
    time after the last round. provider: the parts of a provider's time (see the module), as means over all providers.
    exchanges: one for each task.
    """

    hire: float
    rounds: list[float]
    farewell: float
    provider: dict[str, float]
    exchanges: list[Exchange]

    @property
    def sent(self) -> int:
        """Returns the bytes that were sent to all providers."""
        return sum(exchange.sent for exchange in self.exchanges)

    @property
    def received(self) -> int:
        """Returns the bytes that were received from all providers."""
        return sum(exchange.received for exchange in self.exchanges)


@dataclass(frozen=True)
class Work:
    """Describes the work to be done, which is the same for both backends."""

    dataset: Dataset
    base: tuple[str, Path]
    rounds: int
    times: int

    @classmethod
    def prepare(cls, ava: Path, folder: Path, rounds: int, times: int) -> Work:
        """Makes the shards and the base model below `folder`. times: multiplies the steps of a round."""
        for name in ("store", "home"):
            (folder / name).mkdir()
        tested = read_split(ava / "splits" / "test.txt").image_ids
        dataset = make_shards(
            RatedPhotos(ava, read_ratings(ava), tested), PROVIDERS, BACKBONE, 0, folder / "store", folder / "home",
            lambda done, total: None,
        )  # fmt: skip
        model = initial_model(BACKBONE, fetch_weights(find_backbone(BACKBONE).weights), 0, multi_level=True)
        standardise_features(model, read_shard(dataset.holdout.path).jpegs)
        draft = folder / "store" / "draft"
        checkpoint.save(draft, model, {})
        sha256 = sha256_of(draft)
        return cls(dataset, (sha256, draft.rename(folder / "store" / f"{sha256}.safetensors")), rounds, times)

    async def on(self, backend: Backend, folder: RunFolder) -> Figures:
        """Does the work on a backend, and returns the figures."""
        model, _ = checkpoint.load(self.base[1])
        weights = {name: p.detach().clone() for name, p in model.trainable_parameters(BLOCKS).items()}
        plan = default_plan(self.dataset.train_images // PROVIDERS, 0, BLOCKS)
        plan = replace(plan, steps=plan.steps * self.times)
        settings = RoundSettings(self.dataset.clients, plan, self.base, BACKBONE, folder.path / "rounds")
        phases = Phases(backend) if isinstance(backend, GolemBackend) else None
        metered, began = MeteredBackend(backend), time.monotonic()
        rounds: list[float] = []
        async with metered:
            for number in range(1, self.rounds + 1):
                started = time.monotonic()
                report = await run_round(settings, metered, number, weights, lambda outcome, verdict: None)
                assert report.admitted == PROVIDERS, report.failures()
                rounds.append(time.monotonic() - started)
            done = time.monotonic()
        hire = max(phases.hired.values()) - began if phases else 0.0
        rounds[0] -= hire
        return Figures(
            hire=hire,
            rounds=rounds,
            farewell=time.monotonic() - done,
            provider=_split(metered.exchanges, phases, began, done),
            exchanges=metered.exchanges,
        )

    def least(self, number: int) -> tuple[int, int]:
        """Returns the bytes that must at least be sent and received in a round."""
        model, _ = checkpoint.load(self.base[1])
        update = sum(p.numel() for p in model.trainable_parameters(BLOCKS).values()) * PROVIDERS
        shards = sum(path.stat().st_size for client in self.dataset.clients for path in client.paths)
        once = shards + PROVIDERS * self.base[1].stat().st_size
        return 2 * update + (once if number == 1 else 0), update


def _split(exchanges: list[Exchange], phases: Phases | None, began: float, done: float) -> dict[str, float]:
    """Splits the time of a provider into parts, as means over all providers."""
    computing = sum(exchange.work for exchange in exchanges)
    if phases is None:
        spent = {"program": sum(exchange.attempt for exchange in exchanges) - computing}
    else:
        spent = {**phases.seconds, "negotiation": sum(hired - began for hired in phases.hired.values())}
        spent["program"] -= computing
    spent["computing"] = computing
    seconds = {name: spent.get(name, 0.0) / PROVIDERS for name in PARTS}
    return seconds | {"waiting": done - began - sum(seconds.values())}


def _traffic(figures: Figures, work: Work) -> list[dict[str, object]]:
    """Returns the bytes of each round: per provider, and of all providers relative to the least that can travel."""
    rows = []
    for number in range(1, work.rounds + 1):
        mine = [one for one in figures.exchanges if one.job.startswith(f"round-{number:04d}")]
        least = work.least(number)
        rows.append(
            {
                "round": number,
                "sent": {one.provider: one.sent for one in mine},
                "received": {one.provider: one.received for one in mine},
                "sent_over_least": sum(one.sent for one in mine) / least[0],
                "received_over_least": sum(one.received for one in mine) / least[1],
                "seconds_at_20_mbit": sum(one.sent for one in mine) / UPLINK,
            }
        )
    return rows


def measure(backend: str, work: Work, folder: Path) -> Figures:
    environment = golem_environment() if backend == "golem" else dict(os.environ)
    config = HiringConfig(
        backend="golem" if backend == "golem" else "local", workers=PROVIDERS, budget=Decimal(2), max_price=Decimal(1),
        network=chosen_network(environment), subnet=chosen_subnet(environment),
    )  # fmt: skip
    run = RunFolder(folder, {"benchmark": backend})
    opened = open_backend(config, run.path, run.ledger, environment, image_for(backend, environment))
    return asyncio.run(work.on(opened, run))


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
        devnet = start_devnet(NetworkOptions("bench-golem", providers=PROVIDERS))
        try:
            os.environ.update(devnet.environment())
            golem = measure("golem", work, folder / "golem")
        finally:
            stop_devnet(devnet)
        traffic = _traffic(golem, work)
        leasts = [work.least(number) for number in range(1, work.rounds + 1)]
    least = [sum(work_least) for work_least in zip(*leasts, strict=True)]
    result = {
        "providers": PROVIDERS,
        "overhead": sum(golem.rounds) / sum(plain.rounds),
        "golem": _shown(golem),
        "subprocesses": _shown(plain),
        "traffic": traffic,
        "sent_over_least": golem.sent / least[0],
        "received_over_least": golem.received / least[1],
        "seconds_at_20_mbit": golem.sent / UPLINK,
    }
    if options.json:
        print(json.dumps(result))
        return
    for name, figures in (("Golem", golem), ("subprocesses", plain)):
        rounds = ", ".join(f"{seconds:.1f}" for seconds in figures.rounds)
        parts = ", ".join(f"{part} {seconds:.1f}" for part, seconds in figures.provider.items())
        print(f"{name}: rounds {rounds} s, farewell {figures.farewell:.1f} s; a provider's seconds: {parts}")
    print(f"Overhead of the rounds: {result['overhead']:.3f}")
    print(
        f"Sent {golem.sent / 1e6:.1f} MB ({golem.sent / least[0]:.3f} of the least), "
        f"received {golem.received / 1e6:.1f} MB ({golem.received / least[1]:.3f}); "
        f"{golem.sent / UPLINK:.0f} s at 20 Mbit/s"
    )


def _shown(figures: Figures) -> dict[str, object]:
    return {name: value for name, value in asdict(figures).items() if name != "exchanges"}


if __name__ == "__main__":
    main()
