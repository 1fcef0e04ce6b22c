"""Does jobs of the self-test in an image that is booted: in a sandbox, or in a virtual machine."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nima.errors import NimaError
from nima.safe_io import read_bounded
from nima.wire import JOB_FILE, MAX_RESULT_BYTES, RESULT_FILE, JobKind, JobResult
from requestor.errors import DevnetError, ImageError
from requestor.image import JOBS_FOLDER, STORE_FOLDER, TASK_MEMORY_GIB, ImageInfo, python_in_labels
from requestor.vm import DeploymentRefused, Runtime, RuntimeFailed, TaskMachine, UnpackedImage, UsageCounters
from requestor.vm.machine import MachineEnded, MachineOptions, MachineUse, ProgramNotExecuted, VirtualMachine

if TYPE_CHECKING:
    from requestor.image_build.self_test import SelfTest

OnChunk = Callable[[bytes], None]
Run = Callable[[str, Sequence[str], OnChunk, OnChunk], Awaitable[int]]
"""Runs a program with arguments; takes functions that get its output, and returns its exit status."""

_JOB_SECONDS = 300.0
_EMULATED_JOB_SECONDS = 3600.0


@dataclass(frozen=True)
class DoneWork:
    """Holds a job that an image has done.

    result: what its program says; seconds: the time until the program had ended; difference: from this machine's
    values, as `SelfTest.compare` returns it; use: what it left of a virtual machine, None in a sandbox.
    """

    result: JobResult
    seconds: float
    difference: float | None
    use: MachineUse | None

    def in_words(self) -> str:
        """Says in words how long the job took, and what it left."""
        said = [f"{self.seconds:.1f} s"]
        if self.difference is not None:
            said.append(f"{self.difference:.1g} from this machine's values")
        if self.use is not None:
            said.append(
                f"{self.use.available / 1e6:.0f} of {self.use.total / 1e6:.0f} MB were left, and "
                f"{self.use.written / 1e6:.1f} MB written to the root"
            )
        return ", ".join(said)

    def measured(self) -> dict[str, float]:
        """Returns the figures by name: seconds, difference, and bytes of memory and overlay."""
        figures = {"seconds": self.seconds}
        if self.difference is not None:
            figures["difference"] = self.difference
        return figures | ({} if self.use is None else {name: float(value) for name, value in vars(self.use).items()})


class BootedImage:
    """Does jobs in a booted image.

    Args:
        info: the image.
        description: says how it was booted.
        run: runs a program in it.
        volumes: the folders of this machine that are its volumes, by their paths.
        seconds: the longest time of a job.
        use: returns what the last program left of a virtual machine; None in a sandbox.
    """

    def __init__(
        self,
        info: ImageInfo,
        description: str,
        run: Run,
        volumes: dict[str, Path],
        seconds: float = _JOB_SECONDS,
        use: Callable[[], MachineUse | None] = lambda: None,
    ) -> None:
        self._info, self._run, self._seconds, self._use = info, run, seconds, use
        self.description = description
        self.store, self._jobs = volumes[STORE_FOLDER], volumes[JOBS_FOLDER]

    async def work(self, test: SelfTest, kind: JobKind, name: str = "") -> DoneWork:
        """Lets the image's program do the job `name` of `kind`, and compares its output with this machine's.

        Raises ImageError if the job fails, or if the difference is too large.
        """
        name = name or kind
        folder = self._jobs / name
        folder.mkdir()
        (folder / JOB_FILE).write_text(test.job(kind, name).to_json())
        began = time.monotonic()
        await self._program(kind, f"{JOBS_FOLDER}/{name}/{JOB_FILE}")
        seconds = time.monotonic() - began
        try:
            result = JobResult.from_json(read_bounded(folder / RESULT_FILE, MAX_RESULT_BYTES).decode(errors="replace"))
        except NimaError as error:
            raise ImageError(f"{self._info.path}: the result of the job `{kind}` is wrong: {error}") from error
        return DoneWork(result, seconds, await asyncio.to_thread(test.compare, folder, result), self._use())

    async def _program(self, kind: JobKind, job: str) -> None:
        said = bytearray()
        python = python_in_labels(self._info.labels)
        try:
            run = self._run(python, ("-m", "provider_image", job), said.extend, said.extend)
            status = await asyncio.wait_for(run, self._seconds)
        except (RuntimeFailed, ProgramNotExecuted) as error:
            raise ImageError(f"{self._info.path}: {python} could not be started: {error}.") from error
        except MachineEnded as error:
            raise ImageError(f"{self._info.path}: the machine ended in the job `{kind}`. It said: {error}") from error
        except asyncio.TimeoutError:
            raise ImageError(f"{self._info.path}: the job `{kind}` took longer than {self._seconds:.0f} s.") from None
        last = said.decode(errors="replace").strip().splitlines()[-1:] or ["nothing"]
        if status != 0:
            raise ImageError(f"{self._info.path}: the job `{kind}` ended with {status}. It said last: {last[0][:300]}")


@asynccontextmanager
async def in_sandbox(
    image: UnpackedImage, folder: Path, store: Path, *, image_environment: bool = False
) -> AsyncIterator[BootedImage]:
    """Yields the image, booted in a sandbox, with a copy of the files of `store` in its store.

    Raises ImageError if it cannot be booted.
    """
    memory = int(TASK_MEMORY_GIB * 2**30)
    runtime = Runtime(folder, UsageCounters(), TaskMachine(image_environment=image_environment, memory=memory))
    try:
        _, volumes = runtime.deploy(None, image)
        await asyncio.to_thread(shutil.copytree, store, volumes[STORE_FOLDER], dirs_exist_ok=True)
        await runtime.start(())
        files = await asyncio.to_thread(lambda: sum(1 for path in image.root.rglob("*") if path.is_file()))
        description = f"{files} files, no network, no environment, {TASK_MEMORY_GIB} GiB"
        yield BootedImage(image.info, description, runtime.run, volumes)
    except (DeploymentRefused, DevnetError, RuntimeFailed) as error:
        raise ImageError(f"{image.info.path} could not be started: {error}") from error
    finally:
        await runtime.close()


@asynccontextmanager
async def in_virtual_machine(
    info: ImageInfo, options: MachineOptions, folder: Path, store: Path
) -> AsyncIterator[BootedImage]:
    """Yields the image, booted in a virtual machine, with a copy of the files of `store` in its store.

    Raises ImageError if it cannot be booted.
    """
    volumes = {path: folder / f"volume-{number}" for number, path in enumerate(info.volumes)}
    own = folder / "own"
    for path in (own, *volumes.values()):
        path.mkdir(parents=True)
    await asyncio.to_thread(shutil.copytree, store, volumes[STORE_FOLDER], dirs_exist_ok=True)
    try:
        machine = await VirtualMachine.boot(options, info, volumes, own)
    except DevnetError as error:
        raise ImageError(f"{info.path} could not be started: {error}") from error
    emulated = machine.accelerator == "tcg"
    description = (
        f"{machine.boot_seconds:.1f} s by {'emulation' if emulated else 'KVM'} as {machine.cpu}, Linux "
        f"{options.kernel.version}, no network, no environment, {options.memory / 2**30:g} GiB"
    )
    seconds = _EMULATED_JOB_SECONDS if emulated else _JOB_SECONDS
    try:
        yield BootedImage(info, description, machine.run, volumes, seconds, lambda: machine.use)
    finally:
        await machine.stop()
