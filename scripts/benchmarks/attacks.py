#!/usr/bin/env python3
"""Measures what attackers who know the defence do to a model that eight providers train, and whom they get banned.

Eight clients train a head on the features of their photos, as `--strategy federate` does. Up to four of them attack.
The rounds, their verdicts and the bans are those of `nima-golem train`; only the training itself is done here, on
features, so that a round takes a tenth of a second. An audit finds a lie in k of a training's ten segments with a
probability of k / 10, as tests/requestor/audits shows of the real one. Every attack comes in two forms: `throughout` is
false in all segments; `one tenth` is an honest training whose last tenth is replaced by the lie. Beside them are the
rules of the literature, without admission, on the same attacks.

    python scripts/benchmarks/attacks.py tiny-ava [--attacks flip drift] [--hostile 3] [--seeds 0 1 2] [--json]
    python scripts/benchmarks/attacks.py --drawn      # a drawn problem of 32 features instead of photos: seconds
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch
from hostile_updates import ATTACKS, Knowledge
from numpy.typing import NDArray
from robust_rules import RULES
from stand_in import StandIn
from torch import Tensor

from nima.ava import image_path, read_ratings, read_split
from nima.model import find_backbone, initial_model
from nima.photos import open_photo
from nima.ratings import compute_metrics, emd, normalise_votes
from nima.safe_io import sha256_of
from nima.training import embed, standardise_features
from nima.training.sgd import SGD
from nima.weights import fetch_weights
from nima.wire import JobResult, TrainingPlan, decode_weights, default_plan, encode_update
from requestor.backends import Outcome, Provider, RoundLimits, Task
from requestor.training.data import Client
from requestor.training.providers import Providers
from requestor.training.providers.bans import BanList
from requestor.training.rounds import AGGREGATION_RULES, AdmissionHistory, RoundReport, RoundSettings, run_round
from requestor.training.rounds.gate import Gate
from requestor.training.rounds.vectors import flatten, moved, unflatten

CLIENTS = 8
SEGMENTS = 10
FORMS = {"throughout": SEGMENTS, "one tenth": 1}
ORDERS = ("first", "last", "mixed")
LIMITS = RoundLimits(seconds=60, extension=30, grace=20)
Weights = dict[str, Tensor]


@dataclass(frozen=True)
class Photos:
    """Features float32 `[n, features]` and distributions of ratings float32 `[n, 10]` of n photos."""

    features: Tensor
    rated: Tensor

    def __getitem__(self, rows: NDArray[np.int64]) -> Photos:
        return Photos(self.features[rows], self.rated[rows])

    def __len__(self) -> int:
        return len(self.features)


@dataclass(frozen=True)
class Problem:
    """The photos of one seed: those of each client, the hold-out, the test, and the attackers' patch `[features]`."""

    seed: int
    clients: list[Photos]
    holdout: Photos
    test: Photos
    patch: Tensor
    fits: dict[tuple[object, ...], NDArray[np.float64]] = field(default_factory=dict)

    @classmethod
    def split(cls, train: Photos, test: Photos, holdout: int, seed: int) -> Problem:
        random = np.random.default_rng(seed)
        rows = random.permutation(len(train))
        clients = [train[part] for part in np.array_split(rows[holdout:], CLIENTS)]
        size = train.features.shape[1]
        patch = torch.zeros(size)
        patch[random.permutation(size)[: max(3, size // 50)]] = 3.0
        return cls(seed, clients, train[rows[:holdout]], test, patch)

    @cached_property
    def plan(self) -> TrainingPlan:
        return default_plan(len(self.clients[0]), self.seed)

    def start(self) -> Weights:
        prior = self.holdout.rated.mean(dim=0).clamp_min(0.005).log()
        return {"head.weight": torch.zeros(10, self.test.features.shape[1]), "head.bias": prior - prior.mean()}

    def patched(self, photos: Photos) -> Photos:
        """Returns the photos, and copies of them with the patch that are labelled 10."""
        tens = torch.zeros_like(photos.rated)
        tens[:, 9] = 1
        return Photos(torch.cat([photos.features, photos.features + self.patch]), torch.cat([photos.rated, tens]))

    def surrogate(self, photos: Photos, seed: int) -> Photos:
        """Returns as many photos that look alike, with ratings that say nothing of them."""
        random = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(photos), generator=random)
        noise = torch.randn(photos.features.shape, generator=random)
        return Photos(photos.features[order] + 0.5 * noise, photos.rated)

    def fit(self, weights: Weights, photos: Photos, key: tuple[object, ...], seed: int) -> NDArray[np.float64]:
        """Trains a head as a provider does; returns the update `[values]`. What was computed once is kept."""
        key = (*key, hash(flatten(weights).tobytes()))
        if key not in self.fits:
            self.fits[key] = train(weights, photos, replace(self.plan, seed=seed))
        return self.fits[key]

    def losses(self, weights: Mapping[str, Tensor]) -> NDArray[np.float64]:
        with torch.inference_mode():
            predicted = rate(weights, self.holdout.features).softmax(dim=1).double()
            return torch.cumsum(predicted - self.holdout.rated, dim=1).abs().mean(dim=1).numpy()

    def reached(self, weights: Weights) -> tuple[float, float]:
        """Returns the SRCC on the test photos, and the mean score of the patched ones."""
        with torch.inference_mode():
            predicted = rate(weights, self.test.features).softmax(dim=1)
            patched = rate(weights, self.test.features + self.patch).softmax(dim=1)
        if not torch.isfinite(predicted).all():
            return 0.0, float("nan")
        votes = (1000 * self.test.rated).round().numpy().astype(np.int64)
        srcc = compute_metrics(predicted.numpy(), votes).srcc_mean
        scores = torch.arange(1, 11, dtype=torch.float32)
        return (srcc if np.isfinite(srcc) else 0.0), float((patched @ scores).mean())


def rate(weights: Mapping[str, Tensor], features: Tensor) -> Tensor:
    return features @ weights["head.weight"].T + weights["head.bias"]


def train(weights: Weights, photos: Photos, plan: TrainingPlan) -> NDArray[np.float64]:
    """Does the steps of the plan on features; returns the change of the weights, float64 `[values]`."""
    head = {name: values.clone().requires_grad_() for name, values in weights.items()}
    optimizer = SGD([{"params": list(head.values()), "lr": plan.lr_head}], plan.momentum, plan.weight_decay)
    random = np.random.default_rng(plan.seed)
    generator = torch.Generator().manual_seed(plan.seed)
    order = np.concatenate(
        [random.permutation(len(photos)) for _ in range(1 + plan.steps * plan.batch_size // len(photos))]
    )
    for step in range(plan.steps):
        rows = order[step * plan.batch_size : (step + 1) * plan.batch_size]
        features = photos.features[rows]
        kept = torch.rand(features.shape, generator=generator) >= plan.dropout
        loss = emd(rate(head, features * kept / (1 - plan.dropout)).softmax(dim=1), photos.rated[rows], plan.emd_r)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    change = {name: values.detach() - weights[name] for name, values in head.items()}
    return flatten(change).astype(np.float64)


class Attackers:
    """Makes the updates of all clients in a round: honest ones, and those of the attackers."""

    def __init__(self, problem: Problem, attack: str, hostile: int) -> None:
        self.problem = problem
        self.attack = attack
        chosen = np.random.default_rng(problem.seed).permutation(CLIENTS)[:hostile]
        self.hostile = frozenset(chosen.tolist())
        self.last_step = np.zeros(len(flatten(problem.start())))

    def honest(self, weights: Weights, client: int, number: int) -> NDArray[np.float64]:
        return self.problem.fit(
            weights, self.problem.clients[client], ("honest", client, number), 1000 * number + client
        )

    def false(self, weights: Weights, client: int, number: int) -> NDArray[np.float64]:
        problem, photos, seed = self.problem, self.problem.clients[client], 1000 * number + client
        others = [one for one in range(CLIENTS) if one not in self.hostile]
        gate, own = Gate(weights, problem.losses), self.honest(weights, client, number)

        def instead(attacks: Sequence[str], kind: str, make: Callable[[], Photos]) -> NDArray[np.float64]:
            """Trains on other photos, but only for the attacks that need it, because it takes time."""
            return problem.fit(weights, make(), (kind, client, number), seed) if self.attack in attacks else own

        known = Knowledge(
            honest=np.array([self.honest(weights, one, number) for one in others]),
            own=own,
            flipped=instead(("label-flip", "sybils"), "flipped", lambda: Photos(photos.features, photos.rated.flip(1))),
            patched=instead(("backdoor",), "patched", lambda: problem.patched(photos)),
            surrogate=instead(("own photos",), "surrogate", lambda: problem.surrogate(photos, seed)),
            last_step=self.last_step,
            passes=lambda step: gate.try_step(step)[1],
            random=np.random.default_rng([problem.seed, client, number]),
        )
        return ATTACKS[self.attack](known)


class SimulatedAudit:
    """Finds lies with the probability with which the real audit finds them."""

    def __init__(self, share: float, seed: int) -> None:
        self._share = share
        self._random = np.random.default_rng(seed)
        self.false: dict[str, int] = {}  # id of a job → number of its false segments

    def with_evidence(self, task: Task) -> Task:
        return task

    def check(self, outcome: Outcome, update: object) -> str | None:
        segments = self.false.get(outcome.task.job.job_id, 0)
        found = self._random.random() < self._found(segments)
        return "a segment of its training ends elsewhere" if found else None

    def _found(self, false: int) -> float:
        """Returns the probability that one of `false` false segments is among those that are computed again."""
        wanted = self._share * SEGMENTS
        fewer, more = int(wanted), min(SEGMENTS, int(wanted) + 1)
        missed = {count: math.comb(SEGMENTS - false, count) / math.comb(SEGMENTS, count) for count in (fewer, more)}
        return 1 - missed[fewer] - (wanted - fewer) * (missed[more] - missed[fewer])

    def repeat_all(self, task: Task, update: object) -> str | None:
        return "it is another update" if self.false.get(task.job.job_id) else None


class Crowd(StandIn):
    """Answers the tasks of a round in this process, the attackers first, last, or in mixed order."""

    name = "crowd"

    def __init__(self, attackers: Attackers, audit: SimulatedAudit, form: str, order: str, folder: Path) -> None:
        self._attackers = attackers
        self._audit = audit
        self._form = form
        self._order = order
        self._folder = folder
        self._dismissed: set[str] = set()

    async def run(self, tasks: Sequence[Task], seconds: float) -> AsyncIterator[Outcome]:
        def place(task: Task) -> tuple[bool, int]:
            client = int(task.job.job_id.split("-")[3])
            hostile = client in self._attackers.hostile
            return {"first": not hostile, "last": hostile, "mixed": False}[self._order], client

        for task in sorted(tasks, key=place):
            yield self._work(task)

    def dismiss(self, provider_id: str) -> None:
        self._dismissed.add(provider_id)

    def _provider(self, index: int, number: int) -> str:
        sybil = self._attackers.attack == "sybils" and index in self._attackers.hostile
        return f"{index}-{number}" if sybil else str(index)

    def _work(self, task: Task) -> Outcome:
        """Has a client's work done by its own provider, or by the next one that is still given work."""
        _, number, _, client, *again = task.job.job_id.split("-")
        order = [(int(client) + len(again) + ahead) % CLIENTS for ahead in range(CLIENTS)]
        index = next((one for one in order if self._provider(one, int(number)) not in self._dismissed), None)
        if index is None:
            return Outcome(task, None, error="nobody is left")
        name = self._provider(index, int(number))
        assert task.weights is not None
        problem = self._attackers.problem
        schema = {key: tuple(values.shape) for key, values in problem.start().items()}
        received = decode_weights(task.weights, schema)
        lies = index in self._attackers.hostile and self._attackers.attack != "none"
        make = self._attackers.false if lies else self._attackers.honest
        if lies:
            self._audit.false[task.job.job_id] = FORMS[self._form]
        values = make(received, int(client), int(number))
        path = self._folder / f"{task.job.job_id}-{name}"
        plan = task.job.plan
        assert plan is not None
        encode_update(path, received, moved(received, values), plan.seed)
        samples = plan.steps * min(plan.batch_size, len(problem.clients[int(client)]))
        result = JobResult(
            task.job.protocol, task.job.job_id, "train", True, None, samples, 1.0, 0.1, "update.safetensors",
            sha256_of(path),
        )  # fmt: skip
        return Outcome(task, Provider(name, name), result, path, seconds=2.0)


@dataclass(frozen=True)
class Reached:
    """The result of one training: SRCC, mean score of patched photos, and the numbers of honest and hostile bans."""

    srcc: float
    patched: float
    honest_banned: int = 0
    hostile_banned: int = 0


def guarded(attackers: Attackers, form: str, order: str, options: argparse.Namespace) -> Reached:
    """Trains with the rounds of `nima-golem train`, as many and with such audits and averages as `options` say."""
    problem, audit = attackers.problem, SimulatedAudit(options.share, attackers.problem.seed)
    weights = problem.start()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        crowd = Crowd(attackers, audit, form, order, folder)
        bans = BanList(folder / "bans.json")
        providers = Providers(bans, crowd)
        clients = [Client((f"{i:064x}",), (Path(f"{i}"),), (len(one),)) for i, one in enumerate(problem.clients)]
        settings = RoundSettings(
            clients, problem.plan, ("0" * 64, Path("base")), "mobilenet_v2", folder,
            AGGREGATION_RULES[options.aggregation], LIMITS,
            audit=audit,  # type: ignore[arg-type]
            root=lambda now, plan: np.float32(train(now, problem.holdout, plan)),  # type: ignore[arg-type]
        )  # fmt: skip

        async def all_rounds() -> None:
            reports: list[RoundReport] = []
            for number in range(1, options.rounds + 1):
                before = flatten(weights).astype(np.float64)
                reports.append(
                    await run_round(
                        settings,
                        crowd,
                        number,
                        weights,
                        lambda *_: None,
                        evaluate=problem.losses,
                        providers=providers,
                        history=AdmissionHistory.of(report.entry() for report in reports),
                    )
                )
                attackers.last_step = flatten(weights) - before

        asyncio.run(all_rounds())
        banned = {int(one.split("-")[0]) for one in bans.read()}
    srcc, patched = problem.reached(weights)
    return Reached(srcc, patched, len(banned - attackers.hostile), len(banned & attackers.hostile))


def unguarded(attackers: Attackers, rule: str, rounds: int) -> Reached:
    """Trains by a rule of the literature, without any check."""
    problem, weights = attackers.problem, attackers.problem.start()
    for number in range(1, rounds + 1):
        updates = []
        for client in range(CLIENTS):
            lies = client in attackers.hostile and attackers.attack != "none"
            updates.append((attackers.false if lies else attackers.honest)(weights, client, number))
        step = RULES[rule](
            np.array(updates),
            len(attackers.hostile),
            partial(train, weights, problem.holdout, replace(problem.plan, seed=number)),
        )
        attackers.last_step = step
        weights = dict(unflatten((flatten(weights) + step).astype(np.float32), weights))
    return Reached(*problem.reached(weights))


def drawn(seed: int = 0) -> tuple[Photos, Photos]:
    """Draws 600 photos to train on and 200 to test on, of 32 features, four of which decide about the ratings."""
    random = np.random.default_rng(seed)
    features = random.normal(size=(800, 32)).astype(np.float32)
    means = 5.5 + features[:, :4] @ np.array([0.8, -0.6, 0.5, 0.3], np.float32) + random.normal(0, 0.3, 800)
    shares = np.exp(-0.5 * ((np.arange(1, 11) - means[:, None]) / 1.4) ** 2)
    rated = torch.from_numpy((shares / shares.sum(axis=1, keepdims=True)).astype(np.float32))
    every = Photos(torch.from_numpy(features), rated)
    return every[np.arange(600)], every[np.arange(600, 800)]


def of_ava(ava: Path) -> tuple[Photos, Photos]:
    """Computes the features of a folder's photos, those to train on and those to test on."""
    ratings, tested = read_ratings(ava), read_split(ava / "splits" / "test.txt").image_ids
    backbone = find_backbone("mobilenet_v2")
    model = initial_model("mobilenet_v2", fetch_weights(backbone.weights), 0, multi_level=True)
    preparation = model.preparation
    stored = [
        preparation.store(open_photo(image_path(ava, int(one)), preparation.long_side)) for one in ratings.image_ids
    ]
    is_test = np.isin(ratings.image_ids, tested)
    standardise_features(model, [stored[row] for row in np.flatnonzero(~is_test)[:64]])
    every = Photos(
        torch.from_numpy(embed(model, stored)).float(), torch.from_numpy(normalise_votes(ratings.votes)).float()
    )
    return every[np.flatnonzero(~is_test)], every[np.flatnonzero(is_test)]


def measure(options: argparse.Namespace) -> list[dict[str, object]]:
    """Returns one row for each attack, number of attackers and size of the hold-out, over all seeds."""
    train_photos, test = drawn() if options.drawn else of_ava(options.ava)
    rows: list[dict[str, object]] = []
    for held in options.holdout:
        # A tenth is held out, as in a run.
        problems = [Problem.split(train_photos[np.arange(min(10 * held, len(train_photos)))], test, held, seed)
                    for seed in options.seeds]  # fmt: skip
        clean = [guarded(Attackers(one, "none", 0), "throughout", "mixed", options) for one in problems]
        for attack in options.attacks:
            for hostile in options.hostile:
                row: dict[str, object] = {"attack": attack, "hostile": hostile, "holdout": held}
                for form in FORMS if attack != "none" else ("throughout",):
                    runs = [
                        guarded(Attackers(one, attack, hostile), form, order, options)
                        for one, order in zip(problems, [ORDERS[i % 3] for i in range(len(problems))], strict=True)
                    ]
                    row[form] = {
                        "srcc": float(np.mean([run.srcc for run in runs])),
                        "lost": float(np.mean([c.srcc - run.srcc for c, run in zip(clean, runs, strict=True)])),
                        "most_lost": float(max(c.srcc - run.srcc for c, run in zip(clean, runs, strict=True))),
                        "patched": float(
                            np.mean([run.patched - c.patched for c, run in zip(clean, runs, strict=True)])
                        ),
                        "honest_banned": sum(run.honest_banned for run in runs),
                        "hostile_banned": sum(run.hostile_banned for run in runs),
                    }
                for rule in options.rules:
                    runs = [unguarded(Attackers(one, attack, hostile), rule, options.rounds) for one in problems]
                    row[rule] = float(np.mean([run.srcc for run in runs]))
                rows.append(row)
                print(f"\r{len(rows)} rows", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ava", type=Path, nargs="?", help="a folder in AVA's layout, with splits/test.txt")
    parser.add_argument("--drawn", action="store_true", help="a small drawn problem instead of a folder")
    parser.add_argument("--attacks", nargs="+", choices=list(ATTACKS), default=list(ATTACKS), metavar="ATTACK")
    parser.add_argument("--rules", nargs="*", choices=list(RULES), default=list(RULES))
    parser.add_argument("--hostile", type=int, nargs="+", default=[1, 2, 3, 4], help="how many of the 8 clients")
    parser.add_argument(
        "--holdout", type=int, nargs="+", default=[22, 45], help="photos of the hold-out, a tenth of all"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--share", type=float, default=0.1, help="share of the work that is computed again")
    parser.add_argument("--aggregation", choices=list(AGGREGATION_RULES), default="mean")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if (options.ava is None) == (not options.drawn):
        parser.error("give a folder, or --drawn")
    torch.set_num_threads(1)
    result = {
        "clients": CLIENTS, "rounds": options.rounds, "seeds": options.seeds, "share": options.share,
        "aggregation": options.aggregation,
        "rules": options.rules, "rows": measure(options),
    }  # fmt: skip
    if options.json:
        print(json.dumps(result))
        return
    from plots import attacks_table

    print(attacks_table(result).for_people())


if __name__ == "__main__":
    main()
