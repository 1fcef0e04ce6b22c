"""Eight providers that really train a small model, three of them hostile: the model comes out as with honest ones."""

from __future__ import annotations

import asyncio
import dataclasses
import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from nima import checkpoint
from nima.files import sha256_of
from nima.jobs import UPDATE_FILE, WEIGHTS_FILE, TrainingPlan
from nima.model import initial_model
from nima.shards import Shard, read_shard, stored_jpeg, write_shard
from nima.training import standardise_features
from provider_image.work import perform
from requestor.admission import History
from requestor.assignment import Client
from requestor.backends.base import Outcome, Provider, Task
from requestor.holdout import Holdout
from requestor.providers import Providers
from requestor.rounds import RoundReport, run_round
from tests.simulated_backend import SimulatedBackend

CLIENTS, PHOTOS, HELD_OUT, ROUNDS = 8, 8, 64, 2
PLAN = TrainingPlan(30, 8, 0.0, 0.01, 0.9, 0.0, trainable_blocks=0, seed=0, augment=False, dropout=0.2)


@dataclass(frozen=True)
class Setting:
    store: Path
    base: tuple[str, Path]
    clients: list[Client]
    holdout: Shard
    test: Shard


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Setting:
    """Photos that are rated by their brightness; a model that has seen none of them."""
    store = tmp_path_factory.mktemp("store")
    random = np.random.default_rng(0)

    def shard(first: int, photos: int) -> tuple[str, Path]:
        jpegs, votes = [], []
        for _ in range(photos):
            brightness = random.uniform(20, 235)
            pixels = (brightness + random.normal(0, 10, (64, 64, 3))).clip(0, 255).astype(np.uint8)
            jpegs.append(stored_jpeg(Image.fromarray(pixels)))
            shares = np.exp(-0.5 * ((np.arange(1, 11) - (2 + 7 * brightness / 255)) / 1.2) ** 2)
            votes.append(random.multinomial(200, shares / shares.sum()))
        info = write_shard(store, np.arange(first, first + photos), np.array(votes), jpegs)
        return info.sha256, info.path

    parts = [shard(1000 * client, PHOTOS) for client in range(CLIENTS)]
    holdout, test = (read_shard(shard(first, HELD_OUT)[1]) for first in (100_000, 200_000))
    assert holdout.votes is not None
    model = initial_model("mobilenet_v3_small", None, 0, prior=holdout.votes.sum(axis=0), multi_level=True)
    standardise_features(model, holdout.jpegs[:32])
    draft = store / "base.safetensors"
    checkpoint.save(draft, model, {})
    base = sha256_of(draft)
    path = draft.rename(store / f"{base}.safetensors")
    clients = [Client((name,), (file,), (PHOTOS,)) for name, file in parts]
    return Setting(store, (base, path), clients, holdout, test)


def scale(update: Path, factor: float) -> None:
    tensors = load_file(update)
    # The sign goes into the values, as a negative scale is refused at sight.
    tensors = {name: values * math.copysign(1, factor) for name, values in tensors.items()}
    save_file({**tensors, "scales": tensors["scales"].abs() * abs(factor)}, update)


def spoil(update: Path) -> None:
    tensors = load_file(update)
    save_file({**tensors, "head.bias": tensors["head.bias"] * math.nan}, update)


@dataclass(frozen=True)
class Trained:
    """EMD on the test photos, and the kind of verdict by round and provider."""

    emd: float
    verdicts: dict[tuple[int, str], str]


class Crowd:
    """Providers by client; attackers change what they made, and put the result's hash right."""

    def __init__(self, setting: Setting, folder: Path, attackers: Mapping[int, str]) -> None:
        self._setting = setting
        self._folder = folder
        self._attackers = attackers
        self._sent: dict[tuple[int, int], Path] = {}
        self._one_at_a_time = asyncio.Lock()

    async def __call__(self, task: Task) -> Outcome:
        _, number, _, client, *again = task.job.job_id.split("-")
        async with self._one_at_a_time:  # torch's random numbers belong to the whole process
            return await asyncio.to_thread(self._work, task, int(number), int(client), bool(again))

    def _work(self, task: Task, number: int, client: int, again: bool) -> Outcome:
        folder = self._folder / task.job.job_id
        folder.mkdir()
        assert task.weights is not None
        shutil.copyfile(task.weights, folder / WEIGHTS_FILE)
        job = dataclasses.replace(task.job, store=str(self._setting.store))
        result = perform(job, folder)
        update = folder / UPDATE_FILE
        if not again:  # what was refused goes to somebody honest
            self._attack(update, number, client)
        kept = folder / "sent"
        shutil.copyfile(update, kept)
        self._sent[number, client] = kept
        result = dataclasses.replace(result, output_sha256=sha256_of(update))
        name = f"honest-{client}" if again else f"provider-{client}"
        return Outcome(task, Provider(name, name), result, update, seconds=result.seconds + 1)

    def _attack(self, update: Path, number: int, client: int) -> None:
        match self._attackers.get(client):
            case "flip":
                scale(update, -3)
            case "scale":
                scale(update, 100)
            case "zero":
                scale(update, 0)
            case "nan":
                spoil(update)
            case "stale" if number > 1:
                shutil.copyfile(self._sent[1, client], update)
            case "replay":
                shutil.copyfile(self._sent[number, 0], update)


def train(setting: Setting, folder: Path, attackers: Mapping[int, str], guarded: bool = True) -> Trained:
    """Rounds with these providers; without a guard nobody looks at the hold-out."""
    model, _ = checkpoint.load(setting.base[1])
    weights = {name: p.detach().clone() for name, p in model.trainable_parameters(0).items()}
    gate = Holdout(model, setting.holdout, 0) if guarded else None
    (folder / "rounds").mkdir(parents=True)

    async def all_rounds() -> list[RoundReport]:
        backend, providers, reports = SimulatedBackend(Crowd(setting, folder, attackers)), Providers(), []
        for number in range(1, ROUNDS + 1):
            report = await run_round(
                number, backend, setting.clients, PLAN, setting.base, "mobilenet_v3_small", weights, folder / "rounds",
                lambda outcome, verdict: None, evaluate=gate, providers=providers,
                history=History.of({"moved": r.moved, "updates": r.updates} for r in reports),
            )  # fmt: skip
            reports.append(report)
        return reports

    reports = asyncio.run(all_rounds())
    verdicts = {(r.number, u["provider"]): u["kind"] for r in reports for u in r.updates}
    return Trained(float(Holdout(model, setting.test, 0)(weights).mean()), verdicts)


@pytest.fixture(scope="module")
def honest(setting: Setting, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return train(setting, tmp_path_factory.mktemp("honest"), {})


def test_honest_providers_are_all_admitted_and_teach_the_model_something(setting: Setting, honest: Trained) -> None:
    model, _ = checkpoint.load(setting.base[1])
    untrained = float(Holdout(model, setting.test, 0)(dict(model.trainable_parameters(0))).mean())
    assert set(honest.verdicts.values()) == {"admitted"}
    assert honest.emd < untrained / 2


@pytest.mark.parametrize(
    ("attackers", "expected"),
    [
        ({0: "flip", 3: "scale", 5: "nan"}, {0: "harmful", 3: "implausible", 5: "malformed"}),
        ({1: "zero", 3: "stale", 5: "replay"}, {1: "no work", 3: "replay", 5: "replay"}),
        (dict.fromkeys([0, 3, 5, 6, 7], "flip"), dict.fromkeys([0, 3, 5, 6, 7], "harmful")),
    ],
    ids=["violent", "lazy", "most-of-them"],
)
def test_hostile_providers_are_found_out_and_change_nothing(
    attackers: dict[int, str], expected: dict[int, str], setting: Setting, honest: Trained, tmp_path: Path
) -> None:
    trained = train(setting, tmp_path / "run", attackers)
    for client in range(CLIENTS):
        last = trained.verdicts[ROUNDS, f"provider-{client}"]
        assert last == expected.get(client, "admitted"), f"provider {client}"
    assert abs(trained.emd - honest.emd) < 0.005


def test_the_same_attack_ruins_a_model_that_nobody_guards(setting: Setting, honest: Trained, tmp_path: Path) -> None:
    unguarded = train(setting, tmp_path / "run", dict.fromkeys([0, 3, 5], "flip"), guarded=False)
    assert unguarded.emd > 3 * honest.emd
