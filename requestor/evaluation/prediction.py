"""Computes a model's predictions for photos of AVA, here or on providers; both compute them from the same bytes."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nima.ava import PredictionTable, image_path
from nima.errors import NimaError
from nima.model import Preparation, checkpoint
from nima.photos import PhotoError, open_photo
from nima.safe_io import sha256_of
from nima.training import predict
from nima.wire import PROTOCOL, Job, decode_predictions, max_predictions_bytes, read_shard, write_shard
from requestor.backends import Backend, Provider, RoundLimits, Task, renamed_task
from requestor.errors import TrainingFailed
from requestor.planning import TaskTime, forward_core_seconds

PASSES = 5  # number of attempts at a task whose predictions were refused
SHARD_IMAGES = 600  # photos that are predicted at a time; the same here and on providers, so that the digits are equal

Progress = Callable[[int, int], None]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Part:
    """Holds some photos in the form in which shards for the model contain them.

    image_ids: int64 `[n]`.
    images: the n encoded images.
    """

    image_ids: NDArray[np.int64]
    images: list[bytes]


def predict_here(model: Path, ava: Path, image_ids: NDArray[np.int64], progress: Progress) -> PredictionTable:
    """Predicts the ratings of photos on this machine; leaves out photos that cannot be read.

    Raises `NimaError` if no photo can be read, or the model cannot be loaded.

    Args:
        model: a checkpoint.
        ava: folder with `images/<id>.jpg`.
        image_ids: the photos, int64 `[n]`.
        progress: is called with the numbers of photos done and of all photos.
    """
    network, _ = checkpoint.load(model)
    ids, probabilities = [], []
    for part in _parts(model, ava, image_ids, progress):
        ids.append(part.image_ids)
        probabilities.append(predict(network, part.images))
    return _table(ids, probabilities)


async def predict_on(
    backend: Backend,
    model: Path,
    ava: Path,
    image_ids: NDArray[np.int64],
    store: Path,
    progress: Progress,
    workers: int = 1,
) -> PredictionTable:
    """Has a backend's providers predict the ratings of photos; they get the model and the photos, never the ratings.

    Args:
        backend: a backend that was not entered yet.
        model, ava, image_ids, progress: as for `predict_here`.
        store: existing folder for the files that are sent.
        workers: number of providers that work at the same time; the waiting time follows from it.

    Raises TrainingFailed if no provider predicted a part of the photos, and the errors of `predict_here`.
    """
    network, _ = checkpoint.load(model)
    base = store / f"{sha256_of(model)}.safetensors"
    if not base.exists():
        os.link(model, base) if model.stat().st_dev == store.stat().st_dev else base.write_bytes(model.read_bytes())
    tasks = []
    for number, part in enumerate(_parts(model, ava, image_ids, progress)):
        shard = write_shard(store, part.image_ids, None, part.images)
        tasks.append(evaluation_task(number, network.backbone, base, shard.path, shard.images))
    done = 0

    def on_part(photos: int) -> None:
        nonlocal done
        done += photos
        progress(done, len(image_ids))

    async with backend:
        parts, problems = await collect_predictions(
            backend, tasks, on_part, lambda provider, reason: backend.dismiss(provider.id), workers
        )
    if problems:
        raise TrainingFailed(f"Nobody could predict a part of the photos: {problems[0]}.")
    return _table([part[0] for part in parts], [part[1] for part in parts])


def evaluation_task(number: int, backbone: str, base: Path, shard: Path, images: int) -> Task:
    """Returns the task to predict the photos of a shard.

    Args:
        number: number of the task, from 0.
        backbone: name of the model's backbone.
        base: the model's checkpoint, named by its hash.
        shard: the shard, named by its hash.
        images: number of photos in the shard.
    """
    job = Job(
        protocol=PROTOCOL, kind="evaluate", job_id=f"evaluate-{number:04d}", backbone=backbone, store="/",
        base=base.stem, shards=(shard.stem,), plan=None, threads=0,
    )  # fmt: skip
    largest = max_predictions_bytes(images)
    time = TaskTime.of(forward_core_seconds(backbone, images), largest)
    return Task(job, (base, shard), None, time.limit, largest, time.usual)


async def collect_predictions(
    backend: Backend,
    tasks: Sequence[Task],
    on_part: Callable[[int], None],
    put_out: Callable[[Provider, str], None],
    workers: int = 1,
) -> tuple[list[tuple[NDArray[np.int64], NDArray[np.float32]]], list[str]]:
    """Has evaluation tasks done, and collects their predictions.

    If a provider sends a file that does not hold predictions for the photos of its task, it is put out, and another
    provider does the work again. Nobody checks that the predictions are the model's.

    Args:
        backend: an entered backend.
        tasks: the tasks; the second of each task's files is the shard with its photos.
        on_part: is called with the number of photos of each task that is done.
        put_out: is called with a provider and a reason, and gives the provider no more tasks.
        workers: number of providers that work at the same time; the waiting time follows from it.

    Returns:
        Image ids int64 `[n]` and probabilities float32 `[n, 10]` of each task that was done, and the reasons why the
        others were not done. The parts are in the order of `tasks`, not of arrival, because sums of floating-point
        numbers depend on their order.
    """
    parts: dict[Path, tuple[NDArray[np.int64], NDArray[np.float32]]] = {}
    problems: list[str] = []
    waiting = list(tasks)
    for _ in range(PASSES):
        refused: list[tuple[Task, str]] = []
        async for outcome in backend.run(waiting, RoundLimits.of(waiting, workers).longest):
            name = outcome.provider.name if outcome.provider else "nobody"
            asked = read_shard(outcome.task.store[1]).image_ids
            if outcome.output is None:
                problems.append(f"{name}: {outcome.error or 'no predictions came back'}")
                continue
            try:
                parts[outcome.task.store[1]] = (asked, decode_predictions(outcome.output, asked))
                on_part(len(asked))
            except NimaError as error:
                logger.warning("%s: %s", name, error)
                refused.append((outcome.task, f"{name}: {error}"))
                if outcome.provider is not None:
                    put_out(outcome.provider, str(error))
                    backend.reject(outcome.task.job.job_id, str(error))
            finally:
                outcome.output.unlink(missing_ok=True)
        waiting = [renamed_task(task) for task, _ in refused]
        if not waiting:
            break
    in_order = [parts[task.store[1]] for task in tasks if task.store[1] in parts]
    return in_order, problems + [problem for _, problem in refused]


def _parts(model: Path, ava: Path, image_ids: NDArray[np.int64], progress: Progress) -> Iterator[_Part]:
    preparation = checkpoint.load(model)[0].preparation
    done = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for ids in np.array_split(image_ids, max(1, -(-len(image_ids) // SHARD_IMAGES))):
            paths = [image_path(ava, int(image_id)) for image_id in ids]
            images = list(pool.map(lambda path: _stored(path, preparation), paths))
            done += len(ids)
            progress(done, len(image_ids))
            readable = [index for index, image in enumerate(images) if image is not None]
            if readable:
                yield _Part(ids[readable], [image for image in images if image is not None])


def _stored(path: Path, preparation: Preparation) -> bytes | None:
    try:
        return preparation.store(open_photo(path, preparation.long_side))
    except PhotoError:
        return None


def _table(ids: list[NDArray[np.int64]], probabilities: list[NDArray[np.float32]]) -> PredictionTable:
    if not ids:
        raise NimaError("No photo of the split can be read.")
    image_ids, predicted = np.concatenate(ids), np.concatenate(probabilities).astype(np.float64)
    order = np.argsort(image_ids)
    return PredictionTable(image_ids[order], predicted[order])
