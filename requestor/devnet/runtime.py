"""The devnet's VM runtime: deploys volumes, boots a sandbox, runs programs in it.

Behaves as ya-runtime-vm does where no image is needed: volumes are empty folders of the activity, a program is
executed without a shell, a PATH or an environment.
"""

from __future__ import annotations

import json
import posixpath
import shutil
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from requestor.devnet.sandbox import ExecutionError, Layout, OnChunk, Program, Sandbox, SandboxStopped
from requestor.devnet.usage import Usage
from requestor.errors import DevnetError

DEFAULT_VOLUMES = (
    "/golem/work",
    "/golem/input",
    "/golem/output",
    "/golem/resource",
    "/golem/store",
    "/golem/jobs",
)
ENTRYPOINT_ARGUMENT = "start-entrypoint"
STOPPED = 1  # what a program ends with when the VM goes from under it


class RuntimeFailed(Exception):
    """Its text is what the requestor sees after `Runtime error: `."""


class DeploymentRefused(Exception):
    """The runtime's own exit code, as it ends a deploy that it refuses."""

    exit_code = 1


class Runtime:
    """The runtime of one activity. `folder` is the activity's, and all of it goes when the activity does."""

    def __init__(self, folder: Path, usage: Usage) -> None:
        self._folder, self._usage = folder, usage
        self._volumes: dict[str, Path] = {}
        self._sandbox: Sandbox | None = None

    def deploy(self, volumes: Sequence[str] | Mapping[str, Any] | None) -> tuple[bytes, dict[str, Path]]:
        """Make the volumes: those of the image and those that the script asks for.

        `volumes` is a list of paths, or a mapping of path to mount (`host`, `ram`, `storage`). Returns what the
        runtime prints, and the volumes that transfers may use: path → host folder. Raises DeploymentRefused.
        """
        mounts = dict.fromkeys(DEFAULT_VOLUMES, "host")
        asked = volumes if isinstance(volumes, Mapping) else {path: {"host": {}} for path in volumes or ()}
        for path, mount in asked.items():
            kind = next(iter(mount), "host") if isinstance(mount, Mapping) else "host"
            if not path.startswith("/") or posixpath.normpath(path) != path or (path == "/" and kind == "host"):
                raise DeploymentRefused(f"a volume cannot be mounted on {path!r}")
            mounts[path] = kind
        mounts.pop("/", None)  # a ram disk as root: the root is one already
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
        """Boot. Raises RuntimeFailed."""
        if ENTRYPOINT_ARGUMENT in arguments:
            raise RuntimeFailed("the image has no entrypoint")
        mount_point = self._folder / "root"
        mount_point.mkdir(exist_ok=True)
        try:
            self._sandbox = await Sandbox.boot(Layout.of_host(self._volumes), mount_point)
        except DevnetError as error:
            raise RuntimeFailed(str(error)) from error
        self._usage.watch(self._sandbox.pid)

    async def run(self, entry_point: str, arguments: Sequence[str], on_stdout: OnChunk, on_stderr: OnChunk) -> int:
        """Execute `entry_point`; argv[0] is its base name. Returns its exit status. Raises RuntimeFailed."""
        if self._sandbox is None:
            raise RuntimeFailed("START command not run")
        try:
            return await self._sandbox.run(Program((entry_point, *arguments)), on_stdout, on_stderr)
        except ExecutionError as error:
            message = f"Running process failed, exit code: {error.errno}"
            raise RuntimeFailed(f'Error {{ code: Internal, message: "{message}", context: {{}} }}') from error
        except SandboxStopped:
            return STOPPED

    async def stop(self) -> None:
        """Kill all that runs. The volumes stay until the next deploy."""
        if self._sandbox is not None:
            sandbox, self._sandbox = self._sandbox, None
            self._usage.watch(None)
            await sandbox.stop()

    async def close(self) -> None:
        """Stop, and delete the activity's folder."""
        await self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)
