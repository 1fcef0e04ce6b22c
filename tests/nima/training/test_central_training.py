"""A run of one worker equals central training: every strategy reaches the result of a plain PyTorch loop.

Nothing of `nima.training.loop` is used here. The only difference between the two is what is rounded to travel: features
and the weights with which a round begins, to half precision, and the difference that it returns, to int8.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn.functional import dropout

from nima.ava.ratings_list import read_ratings
from nima.model import checkpoint
from nima.model.network import Nima
from nima.tiny_ava import draw_tiny_ava
from nima.training.activations import MICRO_BATCH
from nima.wire.plan import TrainingPlan, default_plan
from nima.wire.shards import read_shard
from requestor.training.embedding.head import head_plan

ROOT = Path(__file__).resolve().parents[3]
SEED = 0
SEED_OF_ROUND_1 = 1_000_003  # of the first client of round 1, in a run with seed 0
HALF_PRECISION = 0.003  # a few roundings to eleven bits (a two-thousandth each) of the change that training makes
EIGHT_BITS = 0.02  # about half a step, a 127th of a row's largest change; 0.012 was seen
# The same if the input of the trained blocks is rounded, too, to half precision, in every step: 0.031 was seen.
EIGHT_BITS_AND_HALF_ACTIVATIONS = 0.05


@pytest.fixture(scope="module")
def ava(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "ava"
    draw_tiny_ava(folder, images=60)
    return folder


@pytest.fixture(autouse=True)
def as_many_threads_as_the_worker() -> Iterator[None]:
    """Uses as many threads as the worker: sums depend on it, and hundreds of steps amplify their last digits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(os.cpu_count() or 1)
    yield
    torch.set_num_threads(threads)


def train(ava: Path, run_dir: Path, *more: str, workers: int = 1) -> Path:
    options = ["--budget", "2GLM", "--backend", "local", "--workers", str(workers), "--run-dir", str(run_dir)]
    command = [
        sys.executable,
        "-m",
        "requestor.commands.main",
        "train",
        "--ava",
        str(ava),
        "--seed",
        str(SEED),
        *options,
        *more,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    return run_dir


class Photos:
    """The photos on which a run of one worker trains: pixels `[n, 3, 224, 224]` in 0..1, rating shares `[n, 10]`."""

    def __init__(self, ava: Path, run_dir: Path) -> None:
        (client,) = json.loads((run_dir / "dataset.json").read_text())["clients"]
        (shard,) = (read_shard(run_dir / "store" / f"{part['sha256']}.safetensors") for part in client)
        images = [Image.open(io.BytesIO(image)) for image in shard.jpegs]
        self.pixels = torch.stack([torch.tensor(np.array(image)).permute(2, 0, 1) for image in images]) / 255
        votes = read_ratings(ava).select(shard.image_ids).votes
        self.rated = torch.tensor(votes / votes.sum(axis=1, keepdims=True)).float()


def base_model(run_dir: Path) -> Nima:
    sha256 = json.loads((run_dir / "base.json").read_text())["sha256"]
    return checkpoint.load(run_dir / "store" / f"{sha256}.safetensors")[0]


def textbook(model: Nima, photos: Photos, plan: TrainingPlan) -> list[dict[str, Tensor]]:
    """Trains the whole network with SGD on the EMD loss, block by block; returns the parameters after every step."""
    first = len(model.blocks) - plan.trainable_blocks
    backbone = {name: p for name, p in model.named_parameters() if name.startswith("blocks.")}
    backbone = {name: p for name, p in backbone.items() if int(name.split(".")[1]) >= first}
    head = {"head.weight": model.head.weight, "head.bias": model.head.bias}
    groups = [{"params": list(head.values()), "lr": plan.lr_head}]
    if backbone:
        groups.append({"params": list(backbone.values()), "lr": plan.lr_backbone})
    optimizer = torch.optim.SGD(groups, momentum=plan.momentum, weight_decay=plan.weight_decay)
    model.eval()  # BatchNorm is frozen; dropout is done below
    with torch.no_grad():
        seen, levels = (photos.pixels - model.mean) / model.std, []
        for block in model.blocks[:first]:
            seen = block(seen)
            levels.append(seen.mean(dim=(2, 3)))
    after = []
    drawn = MICRO_BATCH if plan.trainable_blocks else plan.batch_size  # number of images whose dropout is drawn at once
    seeds = segment_seeds(plan)
    for step, batch in enumerate(batches(len(photos.rated), plan)):
        if step in seeds:
            torch.manual_seed(seeds[step])
        x, pooled = seen[batch], [level[batch] for level in levels]
        for block in model.blocks[first:]:
            x = block(x)
            pooled.append(x.mean(dim=(2, 3)))
        features = (torch.cat(pooled, dim=1) - model.feature_mean) / model.feature_std
        logits = (
            torch.cat([dropout(part, plan.dropout) for part in features.split(drawn)]) @ model.head.weight.T
            + model.head.bias
        )
        difference = torch.cumsum(logits.softmax(dim=1), dim=1) - torch.cumsum(photos.rated[batch], dim=1)
        optimizer.zero_grad()
        difference.square().mean(dim=1).sqrt().mean().backward()
        optimizer.step()
        after.append({name: p.detach().clone() for name, p in {**backbone, **head}.items()})
    return after


def segment_seeds(plan: TrainingPlan) -> dict[int, int]:
    """Returns the seed of dropout for each of the ten segments of a training, by the step with which it begins."""
    segments = min(10, plan.steps)
    return {
        round(segment * plan.steps / segments): int(np.random.default_rng([plan.seed, segment]).integers(2**63))
        for segment in range(segments)
    }


def batches(photos: int, plan: TrainingPlan) -> NDArray[np.int64]:
    """Returns the photos of each step: epochs, each in a new order, one after another."""
    random, size = np.random.default_rng(plan.seed), min(plan.batch_size, photos)
    epochs = -(-plan.steps * size // photos)
    order = np.concatenate([random.permutation(photos) for _ in range(epochs)])
    return order[: plan.steps * size].reshape(plan.steps, size)


def apart(run: dict[str, Tensor], central: dict[str, Tensor]) -> float:
    """Returns the difference between the run's and central training's change of parameters, relative to the latter."""
    assert all(change.norm() > 0 for change in central.values())
    return max(float((run[name] - change).norm() / change.norm()) for name, change in central.items())


def change(start: dict[str, Tensor], end: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: values - start[name] for name, values in end.items()}


def parameters(model: Nima) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


@pytest.fixture(scope="module")
def tuned(ava: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose round 0 is the embedding, and whose round 1 trains blocks from there."""
    return train(ava, tmp_path_factory.mktemp("tuned") / "run", "--strategy", "fine-tune", "--rounds", "1")


def test_the_head_of_an_embedding_is_that_of_central_training(ava: Path, tuned: Path) -> None:
    photos, model = Photos(ava, tuned), base_model(tuned)
    start = parameters(model)
    steps = textbook(model, photos, head_plan(len(photos.rated), SEED))
    half = steps[len(steps) // 2 :]
    mean = {name: torch.stack([step[name] for step in half]).mean(dim=0) for name in half[0]}
    assert apart(change(start, parameters(after_round(tuned, 0))), change(start, mean)) < HALF_PRECISION


def test_an_embedding_ends_at_the_same_head_for_any_number_of_workers(ava: Path, tuned: Path, tmp_path: Path) -> None:
    run_dir = train(ava, tmp_path / "run", "--strategy", "embed", workers=3)
    start = parameters(base_model(tuned))
    alone, together = (change(start, parameters(after_round(folder, 0))) for folder in (tuned, run_dir))
    head = {name: alone[name] for name in ("head.weight", "head.bias")}
    assert apart(together, head) < HALF_PRECISION


def test_a_federated_round_of_one_worker_is_central_training(ava: Path, tmp_path: Path) -> None:
    run_dir = train(ava, tmp_path / "run", "--strategy", "federate", "--rounds", "1")
    photos = Photos(ava, run_dir)
    plan = replace(default_plan(len(photos.rated), SEED), seed=SEED_OF_ROUND_1)
    run, central = changes_in_round_1(photos, base_model(run_dir), plan, after_round(run_dir, 1))
    assert apart(run, central) < EIGHT_BITS


def test_fine_tuning_by_one_worker_is_central_training(ava: Path, tuned: Path) -> None:
    photos = Photos(ava, tuned)
    plan = replace(default_plan(len(photos.rated), SEED, trainable_blocks=3), seed=SEED_OF_ROUND_1)
    run, central = changes_in_round_1(photos, after_round(tuned, 0), plan, after_round(tuned, 1))
    assert apart(run, central) < EIGHT_BITS_AND_HALF_ACTIVATIONS


def changes_in_round_1(
    photos: Photos, before: Nima, plan: TrainingPlan, after: Nima
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Returns the changes of the run, and of central training from the weights that its worker received."""
    run = change(parameters(before), parameters(after))
    with torch.no_grad():
        for parameter in before.trainable_parameters(plan.trainable_blocks).values():
            parameter.copy_(parameter.half())
    received = parameters(before)
    return run, change(received, textbook(before, photos, plan)[-1])


def after_round(run_dir: Path, number: int) -> Nima:
    return checkpoint.load(run_dir / "rounds" / f"{number:04d}.safetensors")[0]
