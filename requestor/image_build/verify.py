"""Tests an image: its program does every kind of job, started as Golem's VM would start it.

The program runs in a sandbox or in a virtual machine, without network and privileges, with empty volumes and with the
least memory that a provider must have. It gets no environment; in a sandbox, one further job runs with the environment
of the image, which runtimes before 0.5 give to programs.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from nima.wire import JobKind
from requestor.errors import DevnetError, ImageError
from requestor.image import (
    JOBS_FOLDER,
    MODELS_FOLDER,
    STORE_FOLDER,
    UNSUPPORTED_COMPRESSIONS,
    ImageInfo,
    check_image_versions,
    models_in_labels,
    read_image,
)
from requestor.image_build.booted import BootedImage, in_sandbox, in_virtual_machine
from requestor.vm import ImageCache, UnpackedImage
from requestor.vm.machine import MachineOptions

if TYPE_CHECKING:
    from requestor.image_build.self_test import SelfTest

KINDS_OF_JOBS: tuple[JobKind, ...] = ("embed", "train", "evaluate", "benchmark")


@dataclass(frozen=True)
class Check:
    """Names a check that has passed, what it found in words, and what it measured, by name."""

    name: str
    found: str
    measured: Mapping[str, float] = field(default_factory=dict)


async def verify_image(
    path: Path, kinds: Sequence[JobKind] = KINDS_OF_JOBS, machine: MachineOptions | None = None
) -> AsyncIterator[Check]:
    """Checks the image `path` step by step, and yields each check that has passed.

    Args:
        path: the image.
        kinds: the kinds of jobs that are done; if they are all, the models in the image are tried, too.
        machine: the virtual machine in which they are done; None for a sandbox.

    Raises ImageError at the first check that fails, or ImageMismatch if the image is of another version.
    """
    info = await asyncio.to_thread(read_image, path)
    yield Check("format", f"{info.size} bytes, SHA3-224 {info.sha3_224}")
    check_image_versions(info.labels, str(path))
    yield Check("version", f"{info.labels['nima-golem.version']}, protocol {info.labels['nima-golem.protocol']}")
    _check_config(info)
    yield Check("config", f"volumes {', '.join(info.volumes)}; {' '.join(info.entrypoint)}")
    with tempfile.TemporaryDirectory(prefix="nima-golem-verify-", ignore_cleanup_errors=True) as folder:
        scratch, store = Path(folder), Path(folder, "store")
        store.mkdir()
        models = models_in_labels(info.labels) if set(kinds) == set(KINDS_OF_JOBS) else ()
        image = await _unpack(info, scratch / "images") if machine is None or models else None
        test = await asyncio.to_thread(_self_test, store)
        if machine is not None:
            async with in_virtual_machine(info, machine, scratch / "machine", store) as booted:
                async for check in _do_jobs(booted, test, kinds, image.root if image else None, models):
                    yield check
            return
        assert image is not None, "a sandbox needs the unpacked image"
        async with in_sandbox(image, scratch / "activity", store) as booted:
            async for check in _do_jobs(booted, test, kinds, image.root, models):
                yield check
        async with in_sandbox(image, scratch / "older", store, image_environment=True) as booted:
            await booted.work(test, "embed")
            yield Check("environment", f"the same with {' '.join(info.env) or 'none'}, as before ya-runtime-vm 0.5")


async def _do_jobs(
    booted: BootedImage, test: SelfTest, kinds: Sequence[JobKind], root: Path | None, models: Sequence[str]
) -> AsyncIterator[Check]:
    yield Check("boot", booted.description)
    for number, kind in enumerate(kinds):
        work = await booted.work(test, kind)
        yield Check(kind, f"{work.result.samples} photos in {work.in_words()}", work.measured())
        if number == 0:
            yield Check("versions", ", ".join(f"{name} {version}" for name, version in work.result.versions.items()))
    for number, model in enumerate(models):
        assert root is not None, "the image is unpacked if its models are tried"
        path = root / MODELS_FOLDER.lstrip("/") / f"{model}.safetensors"
        own = await asyncio.to_thread(_test_of_model, path, booted.store)
        work = await booted.work(own, "evaluate", f"model-{number}")
        yield Check("model", f"{model} ({own.model.backbone}) in {work.in_words()}", work.measured())


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


async def _unpack(info: ImageInfo, folder: Path) -> UnpackedImage:
    try:
        image = await ImageCache(folder).unpack(info.path)
    except DevnetError as error:
        raise ImageError(f"{info.path} could not be started: {error}") from error
    for name in ("proc", "sys", "etc"):
        if not (image.root / name).is_dir():
            raise ImageError(f"{info.path} does not boot: it has no folder /{name}.")
    return image


# torch is imported in these functions alone, after the checks that need none.


def _self_test(store: Path) -> SelfTest:
    from requestor.image_build.self_test import SelfTest

    return SelfTest.prepare(store)


def _test_of_model(path: Path, store: Path) -> SelfTest:
    from requestor.image_build.self_test import SelfTest

    return SelfTest.of_model(path, store)
