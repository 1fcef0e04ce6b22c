"""Computes a model's predictions for photos of AVA, here or on providers; both compute them from the same bytes."""

from __future__ import annotations

import asyncio
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
from nima.model import Nima, Preparation, checkpoint
from nima.photos import PhotoError, open_photo
from nima.safe_io import sha256_of
from nima.training import predict
from nima.wire import PROTOCOL, Job, decode_predictions, max_predictions_bytes, read_shard, write_shard
from requestor.audits import AUDIT_SHARE, check_predictions
from requestor.backends import Backend, Outcome, Provider, RoundLimits, Task, renamed_task
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
        collected = await collect_predictions(
            backend, tasks, on_part, lambda provider, reason: backend.dismiss(provider.id), workers
        )
    if collected.problems:
        raise TrainingFailed(f"Nobody could predict a part of the photos: {collected.problems[0]}.")
    return _table([part[0] for part in collected.parts], [part[1] for part in collected.parts])


@dataclass(frozen=True)
class Collected:
    """The predictions that providers made.

    parts: image ids int64 `[n]` and probabilities float32 `[n, 10]` of each task that was done. They are in the order
        of the tasks, not of arrival, because sums of floating-point numbers depend on their order.
    problems: the reasons why the other tasks were not done.
    audited: number of photos whose predictions were computed again on this machine, and found equal.
    """

    parts: list[tuple[NDArray[np.int64], NDArray[np.float32]]]
    problems: list[str]
    audited: int


@dataclass(frozen=True)
class _Done:
    """The predictions of one task, with its provider, and the number of photos that were computed again."""

    task: Task
    provider: Provider | None
    image_ids: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    audited: int


class _False(NimaError):
    pass


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
    audit: float = AUDIT_SHARE,
) -> Collected:
    """Has evaluation tasks done, and collects their predictions.

    Some photos of every task are predicted again on this machine. If a provider sends anything else, or a file that
    does not hold predictions for the photos of its task, it is put out, and others do all of its work again.

    Args:
        backend: an entered backend.
        tasks: the tasks; the first of each task's files is the model, and the second the shard with its photos.
        on_part: is called with the number of photos of each task that is done, at most once for a task.
        put_out: is called with a provider and a reason, and gives the provider no more tasks.
        workers: number of providers that work at the same time; the waiting time follows from it.
        audit: share of the photos of each task that are predicted again, 0 to 1.
    """
    model = (await asyncio.to_thread(checkpoint.load, tasks[0].store[0]))[0] if audit else None
    done: dict[Path, _Done] = {}
    problems: list[str] = []
    refused: dict[Path, str] = {}
    latest = {task.store[1]: task for task in tasks}
    counted: set[Path] = set()
    waiting = list(tasks)
    for _ in range(PASSES):
        refused = {}
        async for outcome in backend.run(waiting, RoundLimits.of(waiting, workers).longest):
            name = outcome.provider.name if outcome.provider else "nobody"
            if outcome.output is None:
                problems.append(f"{name}: {outcome.error or 'no predictions came back'}")
                continue
            place = outcome.task.store[1]
            try:
                done[place] = await asyncio.to_thread(_checked, outcome, model, audit)
                if place not in counted:
                    counted.add(place)
                    on_part(len(done[place].image_ids))
            except NimaError as error:
                logger.warning("%s: %s", name, error)
                refused[place] = f"{name}: {error}"
                if outcome.provider is not None:
                    put_out(outcome.provider, str(error))
                    backend.reject(outcome.task.job.job_id, str(error))
                    # Who was caught once is not believed in anything.
                    for earlier in [one for one in done.values() if one.provider == outcome.provider]:
                        refused[earlier.task.store[1]] = refused[place]
                        backend.reject(earlier.task.job.job_id, str(error))
                        del done[earlier.task.store[1]]
            finally:
                outcome.output.unlink(missing_ok=True)
        # Every attempt has a name of its own.
        latest |= {place: renamed_task(latest[place]) for place in refused}
        waiting = [latest[place] for place in refused]
        if not waiting:
            break
    in_order = [done[task.store[1]] for task in tasks if task.store[1] in done]
    return Collected(
        [(one.image_ids, one.probabilities) for one in in_order],
        problems + list(refused.values()),
        sum(one.audited for one in in_order),
    )


def _checked(outcome: Outcome, model: Nima | None, audit: float) -> _Done:
    """Reads the predictions of an outcome, and predicts some of its photos again.

    Raises NimaError if the file does not hold predictions for the photos of the task, or if one is not the model's.
    """
    assert outcome.output is not None
    shard = read_shard(outcome.task.store[1])
    probabilities = decode_predictions(outcome.output, shard.image_ids)
    audited, wrong = (0, None) if model is None else check_predictions(model, shard, probabilities, audit)
    if wrong is not None:
        raise _False(wrong)
    return _Done(outcome.task, outcome.provider, shard.image_ids, probabilities, audited)


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
