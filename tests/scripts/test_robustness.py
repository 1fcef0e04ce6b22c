"""Eight providers train a small model, three of them hostile: the model is as good as with honest ones.

This is the small form of `scripts/benchmarks/fault_matrix.py`: every kind of fault that changes what is sent, by the
devnet's classes.
"""

from __future__ import annotations

import asyncio
import dataclasses
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from simulated_backend import SimulatedBackend

from nima.model import checkpoint
from nima.model.network import initial_model
from nima.model.preparation import Preparation
from nima.ratings.metrics import compute_metrics
from nima.safe_io.files import sha256_of
from nima.training.loop import predict, standardise_features
from nima.wire.jobs import UPDATE_FILE, WEIGHTS_FILE, Job
from nima.wire.plan import TrainingPlan
from nima.wire.shards import Shard, read_shard, write_shard
from nima.wire.votes import write_votes
from provider_image.work import perform
from requestor.audits.training import TrainingAudit
from requestor.backends.base import Outcome, Provider, Task
from requestor.devnet.faults.kinds import make_fault
from requestor.devnet.faults.work import ProgramRun
from requestor.training.data.dataset import Client
from requestor.training.providers.standing import Providers
from requestor.training.rounds.admission import AdmissionHistory
from requestor.training.rounds.gate import HoldoutEvaluator
from requestor.training.rounds.round import RoundReport, RoundSettings, run_round

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

    def photos_of(first: int, photos: int) -> tuple[list[bytes], NDArray[np.int64], NDArray[np.int64]]:
        jpegs, votes = [], []
        for _ in range(photos):
            brightness = random.uniform(20, 235)
            pixels = (brightness + random.normal(0, 10, (64, 64, 3))).clip(0, 255).astype(np.uint8)
            jpegs.append(Preparation().store(Image.fromarray(pixels)))
            shares = np.exp(-0.5 * ((np.arange(1, 11) - (2 + 7 * brightness / 255)) / 1.2) ** 2)
            votes.append(random.multinomial(200, shares / shares.sum()))
        return jpegs, np.arange(first, first + photos), np.array(votes)

    def client(first: int) -> Client:
        jpegs, ids, votes = photos_of(first, PHOTOS)
        info = write_shard(store, ids, None, jpegs)
        return Client((info.sha256,), (info.path,), (PHOTOS,), (write_votes(store, ids, votes),))

    def kept_home(first: int) -> Shard:
        jpegs, ids, votes = photos_of(first, HELD_OUT)
        return read_shard(write_shard(store, ids, votes, jpegs).path)

    clients = [client(1000 * number) for number in range(CLIENTS)]
    holdout, test = kept_home(100_000), kept_home(200_000)
    assert holdout.votes is not None
    model = initial_model("mobilenet_v3_small", None, 0, prior=holdout.votes.sum(axis=0), multi_level=True)
    standardise_features(model, holdout.jpegs[:32])
    draft = store / "base.safetensors"
    checkpoint.save(draft, model, {})
    base = sha256_of(draft)
    path = draft.rename(store / f"{base}.safetensors")
    return Setting(store, (base, path), clients, holdout, test)


@dataclass(frozen=True)
class Trained:
    """EMD and SRCC on the test photos, and the kind of verdict by round and provider."""

    emd: float
    srcc: float
    verdicts: dict[tuple[int, str], str]


class Crowd:
    """Providers by client; attackers have a fault of the devnet, and correct the hash in the result."""

    def __init__(self, setting: Setting, folder: Path, attackers: Mapping[int, str]) -> None:
        self._setting = setting
        self._folder = folder
        self._attackers = attackers
        self._sent: dict[tuple[int, int], Path] = {}
        self._one_at_a_time = asyncio.Lock()

    async def __call__(self, task: Task) -> Outcome:
        _, number, _, client, *again = task.job.job_id.split("-")
        async with self._one_at_a_time:  # torch's random numbers are shared by the whole process
            return await asyncio.to_thread(self._work, task, int(number), int(client), bool(again))

    def _work(self, task: Task, number: int, client: int, again: bool) -> Outcome:
        folder = self._folder / task.job.job_id
        folder.mkdir()
        assert task.weights is not None
        shutil.copyfile(task.weights, folder / WEIGHTS_FILE)
        job_file, update = folder / "job.json", folder / UPDATE_FILE
        job_file.write_text(dataclasses.replace(task.job, store="/store").to_json())
        name = f"honest-{client}" if again else f"provider-{client}"
        kind = "" if again else self._attackers.get(client, "")  # work that was refused goes to an honest provider
        if kind == "crash":
            return Outcome(task, Provider(name, name), error="the provider is gone", seconds=1.0)
        results = []

        async def execute() -> int:
            job = dataclasses.replace(Job.from_json(job_file.read_text()), store=str(self._setting.store))
            results.append(perform(job, folder))
            kept = folder / "sent"
            shutil.copyfile(update, kept)
            self._sent[number, client] = kept
            return 0

        work = ProgramRun(("python", "/jobs/job.json"), {"/jobs": folder, "/store": self._setting.store})
        if kind in ("stale", "replay"):  # the devnet's faults wait for others' files
            asyncio.run(execute())
            shutil.copyfile(self._sent[(1, client) if kind == "stale" else (number, 0)], update)
        else:
            asyncio.run(make_fault(kind, folder).run(work, execute))
        oversized = update.stat().st_size > 10**9  # its hash takes too long to compute
        sha256 = "0" * 64 if oversized else sha256_of(update)
        result = dataclasses.replace(results[0], output_sha256=sha256)
        return Outcome(task, Provider(name, name), result, update, seconds=result.seconds + 1)


def train(setting: Setting, folder: Path, attackers: Mapping[int, str], guarded: bool = True) -> Trained:
    """Runs rounds with these providers; without a guard, updates are not judged on the hold-out."""
    model, _ = checkpoint.load(setting.base[1])
    weights = {name: p.detach().clone() for name, p in model.trainable_parameters(0).items()}
    gate = HoldoutEvaluator(model, setting.holdout, 0) if guarded else None
    (folder / "rounds").mkdir(parents=True)
    # Nothing is computed again by chance, so that verdicts repeat; but who copies whom is found out.
    audit = TrainingAudit(setting.base[1], 0.0)
    settings = RoundSettings(setting.clients, PLAN, setting.base, "mobilenet_v3_small", folder / "rounds", audit=audit)

    async def all_rounds() -> list[RoundReport]:
        backend, providers, reports = SimulatedBackend(Crowd(setting, folder, attackers)), Providers(), []
        for number in range(1, ROUNDS + 1):
            report = await run_round(
                settings, backend, number, weights, lambda outcome, verdict: None, evaluate=gate, providers=providers,
                history=AdmissionHistory.of(r.entry() for r in reports),
            )  # fmt: skip
            reports.append(report)
        return reports

    reports = asyncio.run(all_rounds())
    verdicts = {(r.number, u.provider): u.kind for r in reports for u in r.updates}
    model.load_state_dict(weights, strict=False)
    assert setting.test.votes is not None
    metrics = compute_metrics(predict(model, setting.test.jpegs), setting.test.votes)
    return Trained(metrics.emd_r1, metrics.srcc_mean, verdicts)


@pytest.fixture(scope="module")
def honest(setting: Setting, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return train(setting, tmp_path_factory.mktemp("honest"), {})


def test_honest_providers_are_all_admitted_and_teach_the_model_something(setting: Setting, honest: Trained) -> None:
    model, _ = checkpoint.load(setting.base[1])
    untrained = float(HoldoutEvaluator(model, setting.test, 0)(dict(model.trainable_parameters(0))).mean())
    assert set(honest.verdicts.values()) == {"admitted"}
    assert honest.emd < untrained / 2


@pytest.mark.parametrize(
    ("attackers", "expected"),
    [
        (("flip", "scale", "nan"), ("harmful", "implausible or outlier", "malformed")),
        (("zero", "stale", "replay"), ("no work", "replay", "replay")),
        (("garbage", "truncated", "wrong-shape"), ("malformed",) * 3),
        (("pickle", "zip-slip", "oversized"), ("malformed",) * 3),
        (("label-flip",) * 3, ("harmful",) * 3),
        (("crash",) * 3, ("no update",) * 3),
        (("flip",) * 5, ("harmful",) * 5),
    ],
    ids=lambda names: "+".join(dict.fromkeys(names)),
)
def test_hostile_providers_are_found_out_and_change_nothing(
    attackers: tuple[str, ...], expected: tuple[str, ...], setting: Setting, honest: Trained, tmp_path: Path
) -> None:
    clients = (1, 3, 5, 6, 7)
    trained = train(setting, tmp_path / "run", dict(zip(clients, attackers, strict=False)))
    verdicts = dict(zip(clients, expected, strict=False))
    for client in range(CLIENTS):
        last = trained.verdicts[ROUNDS, f"provider-{client}"]
        assert last in verdicts.get(client, "admitted").split(" or "), f"provider {client}"
    assert abs(trained.srcc - honest.srcc) < 0.02
    assert abs(trained.emd - honest.emd) < 0.005


def test_the_same_attack_ruins_a_model_that_nobody_guards(setting: Setting, honest: Trained, tmp_path: Path) -> None:
    unguarded = train(setting, tmp_path / "run", dict.fromkeys((1, 3, 5, 6, 7), "flip"), guarded=False)
    assert unguarded.emd > 3 * honest.emd
