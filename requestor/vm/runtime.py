"""Runs the programs of an activity, as the devnet's VM runtime: creates volumes, boots a sandbox, and uses it.

It behaves as ya-runtime-vm does: volumes are empty folders of the activity, and a program is executed without a shell,
a PATH or an environment. Programs run in the image, or on this machine's own system if the devnet has no image.
"""

from __future__ import annotations

import asyncio
import json
import posixpath
import shutil
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from requestor.errors import DevnetError
from requestor.vm.image_cache import ImageCache, UnpackedImage
from requestor.vm.sandbox import ExecutionError, OnChunk, Program, Sandbox, SandboxLayout, SandboxStopped
from requestor.vm.usage import UsageCounters

DEFAULT_VOLUMES = (
    "/golem/work",
    "/golem/input",
    "/golem/output",
    "/golem/resource",
    "/golem/store",
    "/golem/jobs",
)
ENTRYPOINT_ARGUMENT = "start-entrypoint"
STOPPED = 1  # the exit status of a program whose VM is stopped


@dataclass(frozen=True)
class TaskMachine:
    """Describes the machine on which a provider runs tasks.

    Attributes:
        images: the cache of the images in which tasks run; None: they run on this machine's own system, unlimited.
        image_environment: True if programs get the image's ENV, as up to ya-runtime-vm 0.4; from 0.5 on they get none.
        memory: bytes that all processes of a task may use together; if they use more, the largest is killed; 0 is no
            limit.
        threads: processors that a task may use; 0 is all.
        overhead: CPU time that the VM takes beside its programs, as a share of theirs; it is metered, too.
    """

    images: ImageCache | None = None
    image_environment: bool = False
    memory: int = 0
    threads: int = 0
    overhead: float = 0.0


HOST_MACHINE = TaskMachine()


class RuntimeFailed(Exception):
    """Says that the runtime has failed. The requestor sees this text after `Runtime error: `."""


class DeploymentRefused(Exception):
    """Says that the runtime refuses a deploy. `exit_code` is the exit code of the runtime then."""

    exit_code = 1


class Runtime:
    """Runs the programs of one activity. `folder` belongs to the activity, and is deleted with it."""

    def __init__(self, folder: Path, usage: UsageCounters, machine: TaskMachine) -> None:
        self._folder, self._usage, self._machine = folder, usage, machine
        self._image: UnpackedImage | None = None
        self._volumes: dict[str, Path] = {}
        self._sandbox: Sandbox | None = None
        self._entrypoint: asyncio.Task[None] | None = None

    def deploy(
        self, volumes: Sequence[str] | Mapping[str, Any] | None, image: UnpackedImage | None
    ) -> tuple[bytes, dict[str, Path]]:
        """Creates the volumes: those of the image and those that the script asks for.

        `volumes` is a list of paths, or a mapping of path to mount (`host`, `ram`, `storage`). Returns the text that
        the runtime prints, and the volumes that transfers may use: path → host folder. Raises DeploymentRefused if a
        volume cannot be mounted on its path.
        """
        self._image = image
        mounts = dict.fromkeys(image.info.volumes if image else DEFAULT_VOLUMES, "host")
        asked = volumes if isinstance(volumes, Mapping) else {path: {"host": {}} for path in volumes or ()}
        for path, mount in asked.items():
            kind = next(iter(mount), "host") if isinstance(mount, Mapping) else "host"
            if not path.startswith("/") or posixpath.normpath(path) != path or (path == "/" and kind == "host"):
                raise DeploymentRefused(f"a volume cannot be mounted on {path!r}")
            mounts[path] = kind
        mounts.pop("/", None)  # drops a ram disk as root, because the root is one already
        names = {path: f"vol-{uuid.uuid4()}" for path in mounts}
        self._volumes = {path: self._folder / name for path, name in names.items()}
        for folder in self._volumes.values():
            folder.mkdir(parents=True)
        transferable = [path for path, kind in mounts.items() if kind == "host"]
        deployment = {
            "valid": {"Ok": ""},
            "vols": [{"name": names[path], "path": path} for path in transferable],
            "startMode": "blocking",
        }
        return json.dumps(deployment).encode(), {path: self._volumes[path] for path in transferable}

    async def start(self, arguments: Sequence[str]) -> None:
        """Boots the sandbox, and starts the image's entrypoint in it if `arguments` hold `start-entrypoint`.

        Raises RuntimeFailed if the image has no entrypoint then, or if the sandbox cannot be booted.
        """
        entrypoint = (*self._image.info.entrypoint, *self._image.info.cmd) if self._image else ()
        if ENTRYPOINT_ARGUMENT in arguments and not entrypoint:
            raise RuntimeFailed("the image has no entrypoint")
        mount_point = self._folder / "root"
        mount_point.mkdir(exist_ok=True)
        try:
            self._sandbox = await Sandbox.boot(self._layout(), mount_point)
        except DevnetError as error:
            raise RuntimeFailed(str(error)) from error
        self._usage.watch(self._sandbox.pid)
        if ENTRYPOINT_ARGUMENT in arguments:
            self._entrypoint = asyncio.ensure_future(self._run_entrypoint(self._sandbox, entrypoint))

    def _layout(self) -> SandboxLayout:
        if self._image is None:
            return SandboxLayout.of_host(self._volumes)
        machine = self._machine
        return SandboxLayout.of_image(self._image.root, self._volumes, memory=machine.memory, threads=machine.threads)

    def _program(self, argv: tuple[str, ...]) -> Program:
        if self._image is None:
            return Program(argv)
        info = self._image.info
        variables = info.env if self._machine.image_environment else ()
        environment = dict(variable.split("=", 1) for variable in variables if "=" in variable)
        return Program(argv, info.working_dir, environment)

    async def _run_entrypoint(self, sandbox: Sandbox, argv: tuple[str, ...]) -> None:
        """Runs the entrypoint beside all other programs; ignores its output and its end."""
        with suppress(ExecutionError, SandboxStopped):
            await sandbox.run(self._program(argv), lambda _: None, lambda _: None)

    async def run(self, entry_point: str, arguments: Sequence[str], on_stdout: OnChunk, on_stderr: OnChunk) -> int:
        """Executes the program `entry_point` with its base name as argv[0], and returns its exit status.

        Returns 1 if the sandbox is stopped meanwhile. Raises RuntimeFailed if there is no sandbox, or if the program
        cannot be executed.
        """
        if self._sandbox is None:
            raise RuntimeFailed("START command not run")
        try:
            return await self._sandbox.run(self._program((entry_point, *arguments)), on_stdout, on_stderr)
        except ExecutionError as error:
            message = f"Running process failed, exit code: {error.errno}"
            raise RuntimeFailed(f'Error {{ code: Internal, message: "{message}", context: {{}} }}') from error
        except SandboxStopped:
            return STOPPED

    async def stop(self) -> None:
        """Kills all programs of the activity. The volumes stay until the next deploy."""
        if self._sandbox is not None:
            sandbox, self._sandbox = self._sandbox, None
            self._usage.watch(None)
            await sandbox.stop()
        if self._entrypoint is not None:
            await self._entrypoint
            self._entrypoint = None

    async def close(self) -> None:
        """Stops the runtime and deletes the activity's folder."""
        await self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)
