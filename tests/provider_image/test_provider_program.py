"""The provider's program, run as on a provider: by absolute path, with an empty environment, from `/`."""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from drawn_photos import shard

from nima.model import checkpoint
from nima.model.network import Nima, initial_model
from nima.safe_io.files import sha256_of
from nima.training.features import embed
from nima.training.loop import predict, standardise_features, train
from nima.wire.features import decode_features
from nima.wire.jobs import EXIT_VERSION_MISMATCH, PROTOCOL, Job, JobResult
from nima.wire.plan import TrainingPlan
from nima.wire.predictions import PredictionsError, decode_predictions, encode_predictions
from nima.wire.shards import write_shard
from nima.wire.updates import decode_update, encode_update, encode_weights, schema_of
from provider_image.__main__ import main
from provider_image.kept_activations import keep_activations

BACKBONE = "resnet18"  # its random weights give activations of the size that trained ones have
PLAN = TrainingPlan(
    steps=3,
    batch_size=4,
    lr_backbone=1e-6,
    lr_head=1e-3,
    momentum=0.9,
    weight_decay=0.0,
    trainable_blocks=1,
    seed=5,
    augment=False,
    dropout=0.0,
)


@dataclasses.dataclass(frozen=True)
class Provider:
    """A provider's two volumes; the first holds all that a job of each kind needs."""

    store: Path
    jobs: Path
    model: Nima
    base: str
    shards: tuple[str, str]

    def job(self, job_id: str, **changes: object) -> Job:
        job = Job(PROTOCOL, "train", job_id, BACKBONE, str(self.store), self.base, self.shards, PLAN, threads=0)
        return dataclasses.replace(job, **changes)  # type: ignore[arg-type]

    def run(self, job: Job | str, job_id: str) -> tuple[int, JobResult, Path]:
        """Runs a job in a separate process; returns exit code, result and folder."""
        folder = self.jobs / job_id
        folder.mkdir(exist_ok=True)
        (folder / "job.json").write_text(job if isinstance(job, str) else job.to_json())
        command = [sys.executable, "-m", "provider_image", str(folder / "job.json")]
        done = subprocess.run(command, env={}, cwd="/", capture_output=True, text=True, timeout=120, check=False)
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, JobResult.from_json((folder / "result.json").read_text()), folder

    def run_here(self, job: Job, job_id: str) -> tuple[int, JobResult, Path]:
        """Runs a job in this process, which has imported torch already; returns exit code, result and folder."""
        folder = self.jobs / job_id
        folder.mkdir(exist_ok=True)
        (folder / "job.json").write_text(job.to_json())
        code = main([str(folder / "job.json")])
        return code, JobResult.from_json((folder / "result.json").read_text()), folder


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Provider:
    root = tmp_path_factory.mktemp("provider")
    store, jobs = root / "store", root / "jobs"
    store.mkdir()
    jobs.mkdir()
    shards = [shard(6), shard(5, first=50)]
    model = initial_model(BACKBONE, None, 0)
    standardise_features(model, shards[0].jpegs)
    checkpoint.save(root / "base", model, {})
    base = sha256_of(root / "base")
    (root / "base").rename(store / f"{base}.safetensors")
    first, second = (write_shard(store, s.image_ids, s.votes, s.jpegs).sha256 for s in shards)
    return Provider(store, jobs, model, base, (first, second))


def test_a_training_sends_back_what_the_same_training_here_changes(provider: Provider) -> None:
    current = provider.model.trainable_parameters(1)
    received = {name: (1.01 * tensor).half().float().detach() for name, tensor in current.items()}
    folder = provider.jobs / "train"
    folder.mkdir()
    encode_weights(folder / "weights.safetensors", received)
    plan = dataclasses.replace(PLAN, lr_backbone=0.01)  # moves every tensor
    job = provider.job("train", weights=sha256_of(folder / "weights.safetensors"), plan=plan)

    code, result, folder = provider.run(job, "train")
    assert (code, result.ok, result.error) == (0, True, None)
    assert (result.samples, result.output) == (12, "update.safetensors")
    assert result.output_sha256 == sha256_of(folder / "update.safetensors")
    assert result.versions["torch"] == torch.__version__

    here, _ = checkpoint.load(provider.store / f"{provider.base}.safetensors")
    with torch.no_grad():
        for name, parameter in here.trainable_parameters(1).items():
            parameter.copy_(received[name])
    report = train(here, [shard(6), shard(5, first=50)], plan)
    assert result.loss == pytest.approx(report.loss, rel=1e-3)  # the provider keeps activations in half precision
    update = decode_update(folder / "update.safetensors", schema_of(current))
    for name, parameter in here.trainable_parameters(1).items():
        delta = parameter.detach() - received[name]
        assert delta.norm() > 1e-5 * received[name].norm(), name
        assert (update[name] - delta).norm() <= 0.03 * delta.norm(), name
    assert update["head.weight"].abs().max() > 1e-4


def test_an_update_can_be_computed_again_to_the_byte_from_its_job(provider: Provider) -> None:
    code, result, _ = provider.run_here(provider.job("again"), "again")
    assert code == 0
    here, _ = checkpoint.load(provider.store / f"{provider.base}.safetensors")
    received = {name: tensor.detach().clone() for name, tensor in here.trainable_parameters(1).items()}
    shards = [shard(6), shard(5, first=50)]
    with keep_activations(provider.store, provider.shards, here, shards, PLAN) as frozen:
        train(here, shards, PLAN, frozen=frozen)
    for seed, same in ((PLAN.seed, True), (PLAN.seed + 1, False)):
        encode_update(provider.jobs / "replayed", received, here.trainable_parameters(1), seed)
        assert (sha256_of(provider.jobs / "replayed") == result.output_sha256) is same


def test_an_evaluation_sends_back_the_predictions_of_its_images(provider: Provider) -> None:
    code, result, folder = provider.run(provider.job("evaluate", kind="evaluate", plan=None), "evaluate")
    assert (code, result.ok, result.samples, result.output) == (0, True, 11, "predictions.safetensors")
    image_ids = np.array([*range(6), *range(50, 55)])
    here = predict(provider.model, shard(6).jpegs + shard(5, first=50).jpegs)
    there = decode_predictions(folder / "predictions.safetensors", image_ids)
    np.testing.assert_allclose(there, here, atol=1e-5)
    with pytest.raises(PredictionsError, match="not about the images"):
        decode_predictions(folder / "predictions.safetensors", image_ids[::-1].copy())


def test_an_embedding_sends_back_the_features_of_its_images(provider: Provider) -> None:
    code, result, folder = provider.run(provider.job("embed", kind="embed", plan=None), "embed")
    assert (code, result.ok, result.samples, result.output) == (0, True, 11, "features.safetensors")
    assert result.output_sha256 == sha256_of(folder / "features.safetensors")
    here = embed(provider.model, shard(6).jpegs + shard(5, first=50).jpegs)
    image_ids = np.array([*range(6), *range(50, 55)])
    there = decode_features(folder / "features.safetensors", image_ids, provider.model.head.in_features)
    np.testing.assert_allclose(there.astype(np.float32), here.astype(np.float32), rtol=2e-3, atol=1e-3)


def test_a_backbone_that_torchvision_does_not_have_needs_no_torchvision(provider: Provider) -> None:
    model = initial_model("mobilenet_v1", None, 0)
    checkpoint.save(provider.store / "base", model, {})
    base = sha256_of(provider.store / "base")
    (provider.store / "base").rename(provider.store / f"{base}.safetensors")
    job = provider.job("v1", kind="evaluate", plan=None, base=base, backbone="mobilenet_v1")
    code, result, _ = provider.run(job, "v1")
    assert (code, result.error, result.samples) == (0, None, 11)
    assert result.versions["torchvision"] == "not used"


def test_no_time_is_lost_on_torchs_compiler_or_on_threads_that_wait(provider: Provider) -> None:
    """To import the compiler takes as long as torch itself, threads that spin double it: providers are paid by time."""
    paths = []
    for kind, plan in (("embed", None), ("evaluate", None), ("train", dataclasses.replace(PLAN, steps=1))):
        folder = provider.jobs / f"quick-{kind}"
        folder.mkdir()
        (folder / "job.json").write_text(provider.job(folder.name, kind=kind, plan=plan).to_json())
        paths.append(str(folder / "job.json"))
    program = (
        "import sys; from provider_image.__main__ import main\n"
        "for path in sys.argv[1:]: assert main([path]) == 0, path\n"
        "assert not [name for name in sys.modules if name.split('.')[:2] == ['torch', '_dynamo']]"
    )
    command = [sys.executable, "-c", program, *paths]
    shown = {"OMP_DISPLAY_ENV": "true"}  # by the OpenMP of torch, on stderr
    done = subprocess.run(command, env=shown, cwd="/", capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "OMP_WAIT_POLICY = 'PASSIVE'" in done.stderr


@pytest.mark.parametrize("plan", [None, dataclasses.replace(PLAN, steps=1)])
def test_a_benchmark_needs_no_shard_and_leaves_nothing(provider: Provider, plan: TrainingPlan | None) -> None:
    job = provider.job("benchmark", kind="benchmark", plan=plan, shards=())
    code, result, folder = provider.run(job, "benchmark")
    assert (code, result.ok, result.output) == (0, True, None)
    assert result.samples == (64 if plan is None else 4)
    assert result.seconds > 0
    assert {path.name for path in folder.iterdir()} == {"job.json", "result.json"}


def test_a_shard_that_is_not_what_its_name_says_is_refused(provider: Provider) -> None:
    wrong = "f" * 64
    shutil.copy(provider.store / f"{provider.shards[0]}.safetensors", provider.store / f"{wrong}.safetensors")
    code, result, folder = provider.run_here(provider.job("wrong", shards=(wrong,)), "wrong")
    assert (code, result.ok, result.job_id, result.kind) == (1, False, "wrong", "train")
    assert result.error is not None
    assert "is not what was asked for" in result.error
    assert not (folder / "update.safetensors").exists()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"base": "0" * 64}, "could not be read: No such file"),
        ({"weights": "0" * 64}, "weights.safetensors could not be read"),
        ({"backbone": "mobilenet_v3_small"}, "The base model is a resnet18"),
    ],
)
def test_a_job_whose_files_do_not_belong_together_fails(
    provider: Provider, changes: dict[str, object], reason: str
) -> None:
    code, result, _ = provider.run_here(provider.job("mixed", **changes), "mixed")
    assert code == 1
    assert result.error is not None
    assert reason in result.error


def test_weights_that_the_job_does_not_name_are_not_passed_over(provider: Provider) -> None:
    (provider.jobs / "unnamed").mkdir()
    (provider.jobs / "unnamed" / "weights.safetensors").write_bytes(b"anything")
    code, result, _ = provider.run_here(provider.job("unnamed"), "unnamed")
    assert code == 1
    assert result.error is not None
    assert "does not name its hash" in result.error


def test_a_job_of_another_version_is_refused_before_anything_else(provider: Provider) -> None:
    code, result, folder = provider.run(provider.job("other", base="0" * 64, version="99.0"), "other")
    assert (code, result.ok, result.job_id) == (EXIT_VERSION_MISMATCH, False, "unknown")
    assert result.error is not None
    assert result.error.startswith("The job is of nima-golem 99.0 (protocol ")
    assert {path.name for path in folder.iterdir()} == {"job.json", "result.json"}


@pytest.mark.parametrize("text", ["{", '{"protocol": "99"}', "\x00\ufffd" * 50])
def test_a_job_that_cannot_be_read_has_a_result_too(provider: Provider, text: str) -> None:
    code, result, _ = provider.run(text, "unreadable")
    assert (code, result.ok, result.job_id, result.kind) == (1, False, "unknown", None)
    assert result.error is not None
    assert result.error.startswith("This is not a valid job")


def test_the_argument_must_be_one_absolute_path() -> None:
    for arguments in ([], ["job.json"], ["/a", "/b"]):
        command = [sys.executable, "-m", "provider_image", *arguments]
        done = subprocess.run(command, env={}, cwd="/", capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert done.stderr.startswith("usage:")


def test_it_needs_neither_a_network_nor_a_writable_root(provider: Provider) -> None:
    """Runs in a mount namespace where all but /tmp is read-only, and in a network namespace without devices."""
    folder = provider.jobs / "sealed"
    folder.mkdir()
    (folder / "job.json").write_text(provider.job("sealed", kind="evaluate", plan=None).to_json())
    inside = (
        "mount --bind /tmp /tmp && mount -o remount,bind,ro / && "
        f"exec env -i {shlex.quote(sys.executable)} -m provider_image {shlex.quote(str(folder))}/job.json"
    )
    command = ["unshare", "--mount", "--net", "--map-root-user", "sh", "-c", inside]
    probe = ["unshare", "--mount", "--net", "--map-root-user", "sh", "-c", "mount -o remount,bind,ro /"]
    if shutil.which("unshare") is None or subprocess.run(probe, capture_output=True, check=False).returncode != 0:
        pytest.skip("needs the right to make namespaces")
    if provider.jobs.parts[1] != "tmp":
        pytest.skip("needs its folders in /tmp")
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, timeout=120, check=False)
    result = JobResult.from_json((folder / "result.json").read_text())
    assert (done.returncode, result.error) == (0, None), done.stderr


def test_predictions_that_are_no_distributions_are_refused(tmp_path: Path) -> None:
    ids, good = np.arange(3), np.full((3, 10), 0.1, dtype=np.float32)
    path = tmp_path / "predictions"
    encode_predictions(path, ids, good)
    np.testing.assert_array_equal(decode_predictions(path, ids), good)
    for bad in (good * 2, good - 0.2, good * np.nan, good[:, :9].copy(), good.astype(np.float64)):
        encode_predictions(path, ids, bad)  # type: ignore[arg-type]
        with pytest.raises(PredictionsError, match="was refused"):
            decode_predictions(path, ids)
    path.write_bytes(json.dumps({"pickle": 1}).encode())
    with pytest.raises(PredictionsError, match="no safetensors file"):
        decode_predictions(path, ids)
    os.truncate(path, 1 << 40)
    with pytest.raises(PredictionsError, match="larger than"):
        decode_predictions(path, ids)
