"""Tests an image: its program does every kind of job, started as Golem's VM would start it.

The program runs from the unpacked squashfs, without network and privileges, with empty volumes and with the least
memory that a provider must have. It gets no environment; one further job runs with the environment of the image, which
runtimes before 0.5 give to programs.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nima.errors import NimaError
from nima.safe_io import read_bounded
from nima.wire import JOB_FILE, MAX_RESULT_BYTES, RESULT_FILE, JobKind, JobResult
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
    from requestor.image_build.self_test import SelfTest

KINDS_OF_JOBS: tuple[JobKind, ...] = ("embed", "train", "evaluate", "benchmark")
_JOB_SECONDS = 300.0


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
        files = await asyncio.to_thread(lambda: sum(1 for path in image.root.rglob("*") if path.is_file()))
        store = scratch / "store"
        store.mkdir()
        test = await asyncio.to_thread(_self_test, store)
        async with _booted(image, scratch / "activity", store) as machine:
            yield Check("boot", f"{files} files, no network, no environment, {TASK_MEMORY_GIB} GiB")
            async for check in _do_jobs(machine, test, image):
                yield check
        async with _booted(image, scratch / "older", store, image_environment=True) as machine:
            await machine.work(test, "embed")
            yield Check("environment", f"the same with {' '.join(info.env) or 'none'}, as before ya-runtime-vm 0.5")


async def _do_jobs(machine: _Booted, test: SelfTest, image: UnpackedImage) -> AsyncIterator[Check]:
    for kind in KINDS_OF_JOBS:
        result, difference = await machine.work(test, kind)
        yield Check(kind, f"{result.samples} photos in {result.seconds:.1f} s{_in_words(difference)}")
        if kind == KINDS_OF_JOBS[0]:
            yield Check("versions", ", ".join(f"{name} {version}" for name, version in result.versions.items()))
    for number, model in enumerate(models_in_labels(image.info.labels)):
        path = image.root / MODELS_FOLDER.lstrip("/") / f"{model}.safetensors"
        own = await asyncio.to_thread(_test_of_model, path, machine.store)
        _, difference = await machine.work(own, "evaluate", f"model-{number}")
        yield Check("model", f"{model} ({own.model.backbone}){_in_words(difference)}")


def _in_words(difference: float | None) -> str:
    return "" if difference is None else f", {difference:.1g} from this machine's values"


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

    async def work(self, test: SelfTest, kind: JobKind, name: str = "") -> tuple[JobResult, float | None]:
        """Lets the program do the job `name` of `kind`; returns its result, and its difference from this machine's.

        Raises ImageError if the job fails, or if the difference is too large.
        """
        name = name or kind
        folder = self.jobs / name
        folder.mkdir()
        (folder / JOB_FILE).write_text(test.job(kind, name).to_json())
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
        return result, await asyncio.to_thread(test.compare, folder, result)


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
async def _booted(
    image: UnpackedImage, folder: Path, store: Path, *, image_environment: bool = False
) -> AsyncIterator[_Booted]:
    """Yields the image, booted in a sandbox, with a copy of the files of `store` in its store."""
    memory = int(TASK_MEMORY_GIB * 2**30)
    runtime = Runtime(folder, UsageCounters(), TaskMachine(image_environment=image_environment, memory=memory))
    try:
        _, volumes = runtime.deploy(None, image)
        await asyncio.to_thread(shutil.copytree, store, volumes[STORE_FOLDER], dirs_exist_ok=True)
        await runtime.start(())
        yield _Booted(image, runtime, volumes)
    except (DeploymentRefused, DevnetError, RuntimeFailed) as error:
        raise ImageError(f"{image.info.path} could not be started: {error}") from error
    finally:
        await runtime.close()


# torch is imported in these functions alone, after the checks that need none.


def _self_test(store: Path) -> SelfTest:
    from requestor.image_build.self_test import SelfTest

    return SelfTest.prepare(store)


def _test_of_model(path: Path, store: Path) -> SelfTest:
    from requestor.image_build.self_test import SelfTest

    return SelfTest.of_model(path, store)
