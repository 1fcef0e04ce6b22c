"""Tests an image: its program does every kind of job, started as Golem's VM would start it.

The program runs from the unpacked squashfs, without network and privileges, with empty volumes and with the least
memory that a provider must have. It gets no environment; one further job runs with the environment of the image, which
runtimes before 0.5 give to programs.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nima.errors import NimaError
from nima.safe_io import read_bounded
from nima.wire import JOB_FILE, MAX_RESULT_BYTES, PROTOCOL, RESULT_FILE, Job, JobKind, JobResult, TrainingPlan
from requestor.errors import DevnetError, ImageError
from requestor.image import (
    JOBS_FOLDER,
    MODELS_FOLDER,
    STORE_FOLDER,
    TASK_MEMORY_GIB,
    UNSUPPORTED_COMPRESSIONS,
    ImageInfo,
    check_image_versions,
    models_in_labels,
    python_in_labels,
    read_image,
)
from requestor.vm import (
    DeploymentRefused,
    ImageCache,
    Runtime,
    RuntimeFailed,
    TaskMachine,
    UnpackedImage,
    UsageCounters,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BACKBONE = "mobilenet_v3_small"
IMAGES = 8
_TOLERANCE = 1e-3  # two builds of PyTorch may differ so much, relative to the largest value
_JOB_SECONDS = 300.0
_PLAN = TrainingPlan(
    steps=2, batch_size=4, lr_backbone=0.01, lr_head=0.01, momentum=0.9, weight_decay=0.0, trainable_blocks=-1, seed=1,
    augment=True,
)  # fmt: skip


@dataclass(frozen=True)
class Check:
    """Names a check that has passed, and what it found."""

    name: str
    found: str


async def verify_image(path: Path) -> AsyncIterator[Check]:
    """Checks the image `path` step by step, and yields each check that has passed.

    Raises ImageError at the first check that fails, or ImageMismatch if the image is of another version.
    """
    info = await asyncio.to_thread(read_image, path)
    yield Check("format", f"{info.size} bytes, SHA3-224 {info.sha3_224}")
    check_image_versions(info.labels, str(path))
    yield Check("version", f"{info.labels['nima-golem.version']}, protocol {info.labels['nima-golem.protocol']}")
    _check_config(info)
    yield Check("config", f"volumes {', '.join(info.volumes)}; {' '.join(info.entrypoint)}")
    async with _unpacked(info) as (image, scratch):
        async with _booted(image, scratch / "activity") as machine:
            async for check in _do_jobs(machine, info):
                yield check
        async with _booted(image, scratch / "older", image_environment=True) as machine:
            await _embed(machine, *await asyncio.to_thread(_prepare, machine.store))
            yield Check("environment", f"the same with {' '.join(info.env) or 'none'}, as before ya-runtime-vm 0.5")


async def _do_jobs(machine: _Booted, info: ImageInfo) -> AsyncIterator[Check]:
    files = await asyncio.to_thread(lambda: sum(1 for path in machine.root.rglob("*") if path.is_file()))
    yield Check("boot", f"{files} files, no network, no environment, {TASK_MEMORY_GIB} GiB")
    base, shard, expected = await asyncio.to_thread(_prepare, machine.store)
    embedded = await _embed(machine, base, shard, expected)
    versions = ", ".join(f"{name} {version}" for name, version in embedded.versions.items())
    yield Check("embed", f"{embedded.samples} photos in {embedded.seconds:.1f} s ({versions})")
    for kind in ("train", "evaluate", "benchmark"):
        result = await machine.work(kind, base, shard)
        if kind == "evaluate":
            await asyncio.to_thread(_compare_predictions, machine.jobs / kind / (result.output or ""), expected)
        yield Check(kind, f"{result.samples} photos in {result.seconds:.1f} s")
    for number, model in enumerate(models_in_labels(info.labels)):
        backbone = await asyncio.to_thread(
            _backbone_of, machine.root / MODELS_FOLDER.lstrip("/") / f"{model}.safetensors"
        )
        await machine.work("evaluate", model, shard, backbone, f"model-{number}")
        yield Check("model", f"{model} ({backbone})")


async def _embed(machine: _Booted, base: str, shard: str, expected: _Expected) -> JobResult:
    result = await machine.work("embed", base, shard)
    await asyncio.to_thread(_compare_features, machine.jobs / "embed" / (result.output or ""), expected)
    return result


def _check_config(info: ImageInfo) -> None:
    problem = ""
    if missing := {JOBS_FOLDER, STORE_FOLDER} - set(info.volumes):
        problem = f"it has no VOLUME {' and '.join(sorted(missing))}, where jobs are sent to"
    elif info.compression in UNSUPPORTED_COMPRESSIONS:
        problem = f"Golem's VM cannot read a squashfs of {info.compression}"
    elif not (info.entrypoint and info.entrypoint[0].startswith("/")):
        problem = "its entrypoint does not begin with an absolute path"
    elif info.user != (0, 0):
        problem = f"its programs run as user {info.user[0]}, who may not write to volumes"
    if problem:
        raise ImageError(f"{info.path} cannot be used: {problem}.")


class _Booted:
    """Runs jobs in an image that is booted in a sandbox; its two volumes are folders of this machine."""

    def __init__(self, image: UnpackedImage, runtime: Runtime, volumes: dict[str, Path]) -> None:
        self._info, self._runtime = image.info, runtime
        self.root, self.store, self.jobs = image.root, volumes[STORE_FOLDER], volumes[JOBS_FOLDER]

    async def work(self, kind: JobKind, base: str, shard: str, backbone: str = BACKBONE, name: str = "") -> JobResult:
        """Lets the program do the job `name` of `kind`, and returns its result. Raises ImageError if the job fails."""
        plan, name = _PLAN if kind == "train" else None, name or kind
        job = Job(PROTOCOL, kind, name, backbone, STORE_FOLDER, base, (shard,), plan, threads=0)
        folder = self.jobs / name
        folder.mkdir()
        (folder / JOB_FILE).write_text(job.to_json())
        said = bytearray()
        arguments = ("-m", "provider_image", f"{JOBS_FOLDER}/{name}/{JOB_FILE}")
        python = python_in_labels(self._info.labels)
        try:
            run = self._runtime.run(python, arguments, said.extend, said.extend)
            status = await asyncio.wait_for(run, _JOB_SECONDS)
        except RuntimeFailed as error:
            raise ImageError(f"{self._info.path}: {python} could not be started: {error}.") from error
        except asyncio.TimeoutError:
            raise ImageError(f"{self._info.path}: the job `{kind}` took longer than {_JOB_SECONDS:.0f} s.") from None
        last = said.decode(errors="replace").strip().splitlines()[-1:] or ["nothing"]
        if status != 0:
            raise ImageError(f"{self._info.path}: the job `{kind}` ended with {status}. It said last: {last[0][:300]}")
        try:
            result = JobResult.from_json(read_bounded(folder / RESULT_FILE, MAX_RESULT_BYTES).decode(errors="replace"))
        except NimaError as error:
            raise ImageError(f"{self._info.path}: the result of the job `{kind}` is wrong: {error}") from error
        return result


@asynccontextmanager
async def _unpacked(info: ImageInfo) -> AsyncIterator[tuple[UnpackedImage, Path]]:
    """Yields the unpacked image, and a scratch folder."""
    with tempfile.TemporaryDirectory(prefix="nima-golem-verify-", ignore_cleanup_errors=True) as scratch:
        try:
            image = await ImageCache(Path(scratch) / "images").unpack(info.path)
        except DevnetError as error:
            raise ImageError(f"{info.path} could not be started: {error}") from error
        for folder in ("proc", "sys", "etc"):
            if not (image.root / folder).is_dir():
                raise ImageError(f"{info.path} does not boot: it has no folder /{folder}.")
        yield image, Path(scratch)


@asynccontextmanager
async def _booted(image: UnpackedImage, folder: Path, *, image_environment: bool = False) -> AsyncIterator[_Booted]:
    memory = int(TASK_MEMORY_GIB * 2**30)
    runtime = Runtime(folder, UsageCounters(), TaskMachine(image_environment=image_environment, memory=memory))
    try:
        _, volumes = runtime.deploy(None, image)
        await runtime.start(())
        yield _Booted(image, runtime, volumes)
    except (DeploymentRefused, DevnetError, RuntimeFailed) as error:
        raise ImageError(f"{image.info.path} could not be started: {error}") from error
    finally:
        await runtime.close()


@dataclass(frozen=True)
class _Expected:
    """Holds the results of this machine.

    image_ids: int64 `[n]`; features: float16 `[n, d]`; probabilities: float32 `[n, 10]`.
    """

    image_ids: NDArray[np.int64]
    features: NDArray[np.float16]
    probabilities: NDArray[np.float32]


def _prepare(store: Path) -> tuple[str, str, _Expected]:
    """Puts a model and a shard of drawn photos into `store`; returns their hashes and the expected results."""
    import numpy as np

    from nima.model import checkpoint, initial_model
    from nima.safe_io import sha256_of
    from nima.training import embed, predict
    from nima.wire import write_shard

    model = initial_model(BACKBONE, None, seed=1)
    draft = store / "draft"
    checkpoint.save(draft, model, {})
    base = sha256_of(draft)
    draft.rename(store / f"{base}.safetensors")
    jpegs = _drawn_photos()
    image_ids = np.arange(1, len(jpegs) + 1)
    shard = write_shard(store, image_ids, np.ones((len(jpegs), 10), dtype=np.int32), jpegs)
    return base, shard.sha256, _Expected(image_ids, embed(model, jpegs), predict(model, jpegs))


def _backbone_of(path: Path) -> str:
    from nima.model import checkpoint

    try:
        return checkpoint.load(path)[0].backbone
    except NimaError as error:
        raise ImageError(f"A model that the image's labels name is not in it: {error}") from error


def _drawn_photos() -> list[bytes]:
    """Draws gradients as JPEGs, each with another colour and direction."""
    import numpy as np
    from PIL import Image

    from nima.model import Preparation

    y, x = np.mgrid[0:256, 0:256] / 255.0
    photos = []
    for number in range(IMAGES):
        turn = np.cos(number) * x + np.sin(number) * y
        channels = [np.sin(turn * (number + 2) + phase) for phase in (0.0, 2.0, 4.0)]
        pixels = ((np.stack(channels, axis=-1) + 1) * 127.5).astype(np.uint8)
        photos.append(Preparation().store(Image.fromarray(pixels)))
    return photos


def _compare_features(path: Path, expected: _Expected) -> None:
    from nima.wire import decode_features

    _compare(path, decode_features(path, expected.image_ids, expected.features.shape[1]), expected.features)


def _compare_predictions(path: Path, expected: _Expected) -> None:
    from nima.wire import decode_predictions

    _compare(path, decode_predictions(path, expected.image_ids), expected.probabilities)


def _compare(path: Path, found: NDArray[np.floating], expected: NDArray[np.floating]) -> None:
    scale = max(1.0, float(abs(expected).max()))
    difference = float(abs(found.astype("float32") - expected.astype("float32")).max())
    if not difference <= _TOLERANCE * scale:
        raise ImageError(f"The image computes other values than this machine: {path.name} differs by {difference:.4f}.")
