"""Embed first, end to end: the real provider program computes features, and the head is trained here."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from ava_folder import make_ava_folder
from simulated_backend import SimulatedBackend

from nima.ava.ratings_list import Ratings, read_ratings
from nima.ava.splits import read_split
from nima.model import checkpoint
from nima.model.network import initial_model
from nima.safe_io.files import sha256_of
from nima.training.features import embed
from nima.training.loop import standardise_features
from nima.wire.features import decode_features, encode_features
from nima.wire.jobs import PROTOCOL, JobResult
from nima.wire.shards import read_shard
from requestor.backends.base import Backend, Outcome, Provider, Task
from requestor.backends.closing import RoundLimits
from requestor.backends.local import LocalBackend, Worker
from requestor.errors import RunStopped, TrainingFailed
from requestor.training.data.dataset import Dataset
from requestor.training.data.sharding import RatedPhotos, make_shards
from requestor.training.embedding.collection import Embedding, EmbeddingInputs, embed_and_train
from requestor.training.embedding.head import head_plan
from requestor.training.providers.standing import Providers
from requestor.training.providers.verdict import Verdict

BACKBONE = "mobilenet_v3_small"


@dataclasses.dataclass(frozen=True)
class Setting:
    """The state of a run when the embedding begins, and the folder for its work."""

    ratings: Ratings
    dataset: Dataset
    base: tuple[str, Path]
    folder: Path

    @property
    def inputs(self) -> EmbeddingInputs:
        return EmbeddingInputs(self.dataset, self.ratings, self.base, seed=0)

    def run(self, backend: Backend, name: str, **options: object) -> tuple[Embedding, list[tuple[Outcome, Verdict]]]:
        """Embeds in a folder of that name."""
        folder, outcomes = self.folder / name, []
        folder.mkdir(exist_ok=True)

        async def run() -> Embedding:
            async with backend:
                return await embed_and_train(
                    backend, self.inputs, folder,
                    lambda outcome, verdict: outcomes.append((outcome, verdict)), **options,  # type: ignore[arg-type]
                )  # fmt: skip

        return asyncio.run(asyncio.wait_for(run(), 200)), outcomes


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Setting:
    root = tmp_path_factory.mktemp("embedding")
    ava = make_ava_folder(root / "ava", images=64)
    for name in ("store", "home", "inbox"):
        (root / name).mkdir()
    ratings, tested = read_ratings(ava), read_split(ava / "splits" / "test.txt").image_ids
    dataset = make_shards(
        RatedPhotos(ava, ratings, tested), 2, BACKBONE, 0, root / "store", root / "home", lambda *_: None
    )
    model = initial_model(BACKBONE, None, 0, prior=ratings.votes.sum(axis=0), multi_level=True)
    standardise_features(model, [jpeg for client in dataset.clients for jpeg in read_shard(client.paths[0]).jpegs])
    draft = root / "base"
    checkpoint.save(draft, model, {})
    base = sha256_of(draft)
    return Setting(ratings, dataset, (base, draft.rename(root / "store" / f"{base}.safetensors")), root)


@pytest.fixture(scope="module")
def honest(setting: Setting) -> tuple[Embedding, list[tuple[Outcome, Verdict]]]:
    return setting.run(LocalBackend(2, setting.folder / "inbox"), "honest")


class Liar(LocalBackend):
    """A backend whose first worker does the work and sends other features. lies: how often it did so."""

    lies = 0

    async def _attempt(self, worker: Worker, task: Task) -> tuple[JobResult, Path | None, dict[int, Path]]:
        result, output, states = await super()._attempt(worker, task)
        if worker.provider.id != "local-1":
            return result, output, states
        assert output is not None
        self.lies += 1
        shard = read_shard(task.store[1])
        size = initial_model(BACKBONE, None, 0, multi_level=True).head.in_features
        features = decode_features(output, shard.image_ids, size)
        encode_features(output, shard.image_ids, np.roll(features, 1, axis=0))
        return dataclasses.replace(result, output_sha256=sha256_of(output)), output, states


def test_the_head_learns_from_features_that_providers_computed(setting: Setting, honest) -> None:
    embedding, outcomes = honest
    assert [verdict.kind for _, verdict in outcomes] == ["admitted"] * 2
    assert embedding.images == setting.dataset.train_images
    assert embedding.holdout.srcc_mean > 0.5
    assert embedding.holdout.emd_r1 < embedding.holdout.constant_emd_r1
    saved, metadata = checkpoint.load(embedding.path)
    assert metadata["holdout"] == embedding.holdout.as_dict()
    base, _ = checkpoint.load(setting.base[1])
    for name, values in saved.state_dict().items():
        assert torch.equal(values, embedding.model.state_dict()[name])
        assert torch.equal(values, base.state_dict()[name]) != name.startswith("head."), name


def test_no_vote_leaves_this_machine(setting: Setting, honest) -> None:
    for outcome, _ in honest[1]:
        base, sent = outcome.task.store
        assert base == setting.base[1]
        assert read_shard(sent).votes is None
        assert outcome.task.weights is None


def test_what_was_checked_is_not_asked_for_again(setting: Setting, honest) -> None:
    """A run that was killed before the head was trained ends with the same bytes, without any provider."""
    embedding, _ = honest
    before = embedding.path.read_bytes()

    async def nobody(task: Task) -> Outcome:
        raise AssertionError("a task was issued")

    again, outcomes = setting.run(SimulatedBackend(nobody), "honest")
    assert outcomes == []
    assert again.holdout == embedding.holdout
    assert again.images == embedding.images
    embedding.path.unlink()
    setting.run(SimulatedBackend(nobody), "honest")
    assert embedding.path.read_bytes() == before


def test_who_lies_is_out_and_another_does_the_work(setting: Setting, honest) -> None:
    backend = Liar(2, setting.folder / "inbox")
    providers = Providers(backend=backend)
    embedding, outcomes = setting.run(backend, "lies", providers=providers)
    assert backend.lies == 1
    refused = [(outcome, verdict) for outcome, verdict in outcomes if not verdict.admitted]
    assert [(outcome.provider.id, verdict.kind) for outcome, verdict in refused] == [("local-1", "false")]
    assert "are not those of the photo" in refused[0][1].reason
    assert providers.is_banned("local-1")
    # The same features at the end, and so the same model.
    assert embedding.images == setting.dataset.train_images
    assert torch.equal(embedding.model.head.weight, honest[0].model.head.weight)
    assert list((setting.folder / "inbox").iterdir()) == []


class Answers:
    """Honest features, computed in this process and changed as each test needs."""

    def __init__(self, setting: Setting) -> None:
        self.model, _ = checkpoint.load(setting.base[1])
        self.provider = Provider("0x1", "provider-1")
        self.folder = setting.folder / "inbox"
        self.asked: list[str] = []

    def features(self, task: Task, lie: bool = False) -> Outcome:
        self.asked.append(task.job.job_id)
        shard, path = read_shard(task.store[1]), self.folder / task.job.job_id
        features = embed(self.model, shard.jpegs)
        encode_features(path, shard.image_ids, -features if lie else features)
        result = JobResult(
            PROTOCOL,
            task.job.job_id,
            "embed",
            True,
            None,
            len(shard),
            1.0,
            None,
            "features.safetensors",
            sha256_of(path),
        )
        return Outcome(task, self.provider, result, path, seconds=2.0)


@pytest.mark.parametrize(
    ("change", "kind", "reason"),
    [
        ({"kind": "evaluate"}, "malformed", "another job"),
        ({"job_id": "embed-9999-0"}, "malformed", "another job"),
        ({"output_sha256": "0" * 64}, "malformed", "not the one that its result names"),
    ],
)
def test_a_result_that_does_not_belong_to_the_task_is_refused(
    setting: Setting, tmp_path: Path, change: dict[str, str], kind: str, reason: str
) -> None:
    answers = Answers(setting)

    async def behave(task: Task) -> Outcome:
        honest = answers.features(task)
        assert honest.result is not None
        return dataclasses.replace(honest, result=dataclasses.replace(honest.result, **change))

    verdicts = failing(setting, SimulatedBackend(behave), tmp_path)
    assert verdicts[0].kind == kind
    assert reason in verdicts[0].reason


def test_what_a_liar_sent_before_is_not_believed_either(setting: Setting, tmp_path: Path) -> None:
    """The first shard's features were honest, or the check missed the change; the second's are not honest."""
    answers = Answers(setting)

    async def behave(task: Task) -> Outcome:
        second = "-0001-" in task.job.job_id
        if second:
            await asyncio.sleep(1)
        return answers.features(task, lie=second)

    verdicts = failing(setting, SimulatedBackend(behave), tmp_path)
    assert [verdict.kind for verdict in verdicts[:2]] == ["admitted", "false"]
    assert list((tmp_path / "features").iterdir()) == []


def test_nobody_to_embed_anything_is_an_error_with_the_reason(setting: Setting, tmp_path: Path) -> None:
    async def behave(task: Task) -> Outcome:
        return Outcome(task, None, error="every worker has failed too often")

    with pytest.raises(TrainingFailed, match=r"Only 0 of 49 photos .*nobody: every worker has failed too often"):
        embed_in(tmp_path, setting, SimulatedBackend(behave), [])


def test_a_provider_that_hangs_is_not_waited_for(setting: Setting, tmp_path: Path) -> None:
    answers = Answers(setting)

    async def behave(task: Task) -> Outcome:
        if task.job.job_id == "embed-0001-0":
            await asyncio.Event().wait()
        return answers.features(task)

    embedding = embed_in(tmp_path, setting, SimulatedBackend(behave), [], limits=RoundLimits(grace=0.1))
    assert answers.asked == ["embed-0000-0", "embed-0001-1"]
    assert embedding.images == setting.dataset.train_images


def test_what_is_done_when_the_run_is_stopped_is_kept(setting: Setting, tmp_path: Path) -> None:
    answers, verdicts = Answers(setting), list[Verdict]()

    async def behave(task: Task) -> Outcome:
        if task.job.job_id.startswith("embed-0001-") and not verdicts:
            await asyncio.Event().wait()
        return answers.features(task)

    with pytest.raises(RunStopped, match="features of 1 of 2 shards"):
        embed_in(tmp_path, setting, SimulatedBackend(behave), verdicts, stopping=lambda: len(verdicts) > 0)
    embedding = embed_in(tmp_path, setting, SimulatedBackend(behave), verdicts)
    assert answers.asked == ["embed-0000-0", "embed-0001-0"]
    assert embedding.images == setting.dataset.train_images


def test_features_of_who_was_banned_since_are_not_used(setting: Setting, tmp_path: Path) -> None:
    """The run was killed after it had banned a provider and before it had deleted that provider's files."""
    liar, honest = Answers(setting), Answers(setting)
    liar.provider = Provider("0xbad", "provider-2")

    async def lie_once(task: Task) -> Outcome:
        if task.job.job_id.startswith("embed-0001-"):
            await asyncio.Event().wait()
        return liar.features(task)

    verdicts: list[Verdict] = []
    with pytest.raises(RunStopped):
        embed_in(tmp_path, setting, SimulatedBackend(lie_once), verdicts, stopping=lambda: len(verdicts) > 0)
    providers = Providers()
    providers.refused(liar.provider, Verdict("false", "its features are another photo's"))

    async def behave(task: Task) -> Outcome:
        return honest.features(task)

    embed_in(tmp_path, setting, SimulatedBackend(behave), verdicts, providers=providers)
    assert len(honest.asked) == len(setting.dataset.clients)


def failing(setting: Setting, backend: Backend, folder: Path) -> list[Verdict]:
    """Returns the verdicts of an embedding that fails."""
    verdicts: list[Verdict] = []
    with pytest.raises(TrainingFailed):
        embed_in(folder, setting, backend, verdicts)
    return verdicts


def embed_in(folder: Path, setting: Setting, backend: Backend, verdicts: list[Verdict], **options: object) -> Embedding:
    async def run() -> Embedding:
        return await embed_and_train(
            backend, setting.inputs, folder, lambda outcome, verdict: verdicts.append(verdict), **options,  # type: ignore[arg-type]
        )  # fmt: skip

    return asyncio.run(asyncio.wait_for(run(), 60))


def test_the_head_of_a_huge_data_set_is_not_trained_for_long() -> None:
    steps: Sequence[int] = [head_plan(images, 0).steps for images in (32, 600, 230_000)]
    assert steps == [128, 2400, 20_000]
