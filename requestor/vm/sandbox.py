"""Replaces a provider's VM in the devnet by Linux namespaces, for which it needs util-linux `unshare` and nothing else.

A sandbox is booted once per activity (`start`) and runs any number of programs, which share /tmp and see each other's
processes, as in the VM. It has its own root on a tmpfs, no network but loopback, no environment and no capability. Of
the host it sees only what its `SandboxLayout` names: the activity's volumes, and an unpacked image or read-only system
folders with the Python that runs the devnet. It works as root and as any user who may create user namespaces.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import itertools
import json
import os
import random
import shutil
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from requestor.errors import DevnetError

ROOT_BYTES = 128 * 2**20  # size of the VM's root overlay
VOLUME_BYTES = 16 * 2**30  # bytes that the volumes of an activity may hold together
PYTHON_PACKAGES = ("nima", "provider_image")  # the only part of this project that a task may see
_INIT = Path(__file__).with_name("sandbox_init.py")
_DRAIN_SECONDS, _DRAIN_ROUNDS = 0.05, 40
_STOP_SECONDS = 3.0

OnChunk = Callable[[bytes], None]


@dataclass(frozen=True)
class SandboxLayout:
    """Describes the contents of a sandbox's root. Paths inside the sandbox are absolute.

    Attributes:
        folders, links, files: what is created in the root.
        read_only, volumes: files and folders of the host that are mounted in the root.
        image: host folder over which the root is a writable layer; empty for an empty root.
        root_size: bytes that can be written to the root.
        memory: bytes that all processes may use together with /tmp and /dev/shm, each of which may hold half of it; if
            they use more, the process that holds most is killed; 0 is no limit.
        volume_size: bytes that can be written to the volumes; if they hold more, all processes are killed; 0 is no
            limit.
        threads: processors that the sandbox may use; 0 is all.
        first_thread: number of the first of them among the allowed processors.
    """

    folders: tuple[str, ...]
    links: tuple[tuple[str, str], ...]  # (path, target)
    files: tuple[tuple[str, str, int], ...]  # (path, text, mode)
    read_only: tuple[tuple[str, str], ...]  # (host path, path)
    volumes: tuple[tuple[str, str], ...]  # (host folder, path)
    image: str = ""
    root_size: int = ROOT_BYTES
    memory: int = 0
    volume_size: int = VOLUME_BYTES
    threads: int = 0
    first_thread: int = 0

    @classmethod
    def of_host(cls, volumes: Mapping[str, Path], *, volume_size: int = VOLUME_BYTES) -> SandboxLayout:
        """Describes the host's own system and Python, read-only, with `volumes`: path inside → host folder.

        Nothing of the host's /home, /root, /etc and so on is visible, except a Python prefix that lies in one of them.
        """
        links, read_only = [], []
        for folder in ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"):
            if os.path.islink(folder):
                links.append((folder, os.path.relpath(os.path.realpath(folder), "/")))
            elif os.path.isdir(folder):
                read_only.append(folder)
        read_only += [path for path in _SYSTEM_FILES if os.path.exists(path)]
        for path in _python_paths():
            if not any(Path(path).is_relative_to(known) for known in read_only):
                read_only.append(path)
        return cls(
            folders=("/sys", "/tmp", "/run", "/var/tmp", "/root"),
            links=tuple(links),
            files=_FILES,
            read_only=tuple((path, path) for path in read_only),
            volumes=_mounts(volumes),
            volume_size=volume_size,
        )

    @classmethod
    def of_image(cls, root: Path, volumes: Mapping[str, Path], *, memory: int = 0, threads: int = 0) -> SandboxLayout:
        """Describes an image's files, unpacked in the host folder `root`, with `volumes`: path inside → host folder."""
        return cls(
            folders=("/tmp",),
            links=(),
            files=_NETWORK_FILES,
            read_only=((_CORES, _CORES),),
            volumes=_mounts(volumes),
            image=str(root),
            memory=memory,
            threads=threads,
            first_thread=random.randrange(os.cpu_count() or 1),
        )


def _mounts(volumes: Mapping[str, Path]) -> tuple[tuple[str, str], ...]:
    return tuple((str(folder), path) for path, folder in sorted(volumes.items()))


_CORES = "/sys/devices/system/cpu"  # numerical libraries look there for the number of cores
_SYSTEM_FILES = ("/etc/ld.so.cache", "/etc/alternatives", "/etc/ssl/certs", "/etc/localtime", _CORES)
# A program's argv[0] is its bare name, from which Python would not find the virtual environment that it belongs to.
PYTHON_IN_SANDBOX = "/opt/nima-golem/python"
_NETWORK_FILES = (
    ("/etc/hosts", "127.0.0.1 localhost\n::1 ip6-localhost ip6-loopback\n", 0o644),
    ("/etc/resolv.conf", "nameserver 1.1.1.1\nnameserver 8.8.8.8\n", 0o644),  # the VM writes this, reachable or not
)
_FILES = (
    *_NETWORK_FILES,
    (PYTHON_IN_SANDBOX, f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', 0o755),
    ("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n", 0o644),
    ("/etc/group", "root:x:0:\nnogroup:x:65534:\n", 0o644),
    ("/etc/hostname", "golem\n", 0o644),
    ("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n", 0o644),
)


def _python_paths() -> list[str]:
    """Returns the prefixes of this Python and the paths of `PYTHON_PACKAGES`.

    A prefix appears as Python uses it and, if it runs through links, with the links resolved, too.
    """
    prefixes = {sys.prefix, sys.base_prefix, str(Path(sys.executable).resolve().parent.parent)}
    prefixes |= {os.path.realpath(prefix) for prefix in prefixes}
    paths = sorted(prefixes, key=len)
    for name in PYTHON_PACKAGES:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.submodule_search_locations:
            paths += list(spec.submodule_search_locations)
    return paths


@dataclass(frozen=True)
class Program:
    """Describes a program to run. `argv[0]` is the path for execve, which needs neither PATH nor a shell."""

    argv: tuple[str, ...]
    cwd: str = "/"
    env: Mapping[str, str] = field(default_factory=dict)


class ExecutionError(Exception):
    """Says that the program could not be executed.

    `errno` tells why (2: no such file, 13: no permission, 8: not executable).
    """

    def __init__(self, errno: int) -> None:
        super().__init__(os.strerror(errno))
        self.errno = errno


class SandboxStopped(Exception):
    """Says that the sandbox ended while a program was running."""


class Sandbox:
    """Runs programs in a booted sandbox. `boot` makes one; `stop` ends it with all that runs in it."""

    def __init__(self, process: asyncio.subprocess.Process, control: socket.socket) -> None:
        self._process, self._control = process, control
        self._numbers = itertools.count()
        self._running: dict[int, asyncio.Future[int]] = {}
        asyncio.get_running_loop().add_reader(control, self._read)

    @property
    def pid(self) -> int:
        """Returns the process id, on the host, of the process from which all processes of the sandbox descend."""
        return self._process.pid

    @classmethod
    async def boot(cls, layout: SandboxLayout, mount_point: Path) -> Sandbox:
        """Boots a sandbox on the empty folder `mount_point`, in which nothing stays.

        Raises DevnetError if this machine cannot make a sandbox.
        """
        unshare = shutil.which("unshare")
        if unshare is None:
            raise DevnetError("The devnet runs tasks through `unshare`, which is missing: install util-linux.")
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *(unshare, "--user", "--map-root-user", "--mount", "--pid", "--net", "--ipc", "--uts"),
                *("--fork", "--kill-child=KILL", "--"),
                *(sys.executable, "-I", "-S", str(_INIT), str(theirs.fileno())),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                env={},
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        ours.setblocking(False)
        loop = asyncio.get_running_loop()
        try:
            with _message_file({**asdict(layout), "mount_point": str(mount_point)}) as file:
                await _send_descriptors(ours, b"layout", [file])
            answer = json.loads(await loop.sock_recv(ours, 1 << 16) or b'{"failed": ""}')
        except (ConnectionError, BrokenPipeError):
            answer = {"failed": ""}
        if "failed" in answer:
            ours.close()
            _, stderr = await process.communicate()
            why = answer["failed"] or stderr.decode(errors="replace").strip() or "no reason given"
            raise DevnetError(
                f"The devnet could not make a sandbox for a task: {why}. It needs Linux 5.12 or newer and user "
                "namespaces (sysctl kernel.unprivileged_userns_clone=1, user.max_user_namespaces above 0, "
                "kernel.apparmor_restrict_unprivileged_userns=0; in a container, run it with --privileged)."
            )
        return cls(process, ours)

    async def run(self, program: Program, on_stdout: OnChunk, on_stderr: OnChunk) -> int:
        """Runs a program to its end; returns its exit status 0..255, or the bare number of the signal that killed it.

        `on_stdout` and `on_stderr` get the output as it arrives. A child that outlives the program goes on, but its
        output is ignored. Raises ExecutionError if the program cannot be executed, SandboxStopped if the sandbox ends
        meanwhile.
        """
        loop = asyncio.get_running_loop()
        number = next(self._numbers)
        ended = self._running[number] = loop.create_future()
        outputs, descriptors = [], []
        try:
            for on_chunk in (on_stdout, on_stderr):
                output, descriptor = await _Output.open(on_chunk)
                outputs.append(output)
                descriptors.append(descriptor)
            with _message_file(asdict(program)) as file:
                try:
                    await _send_descriptors(self._control, str(number).encode(), [*descriptors, file])
                except OSError:
                    raise SandboxStopped from None
            for descriptor in descriptors:
                os.close(descriptor)
            descriptors = []
            status: int = await ended
            for output in outputs:
                await output.drain()
            return status
        finally:
            del self._running[number]
            for descriptor in descriptors:
                os.close(descriptor)
            for output in outputs:
                output.close()

    async def stop(self) -> None:
        """Kills every process in the sandbox, and waits until they have ended. May be called twice."""
        self._hang_up()  # process 1 ends then; before it has ended, the kernel ends all others
        try:
            await asyncio.wait_for(self._process.wait(), _STOP_SECONDS)
        except asyncio.TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()  # `unshare` kills process 1 when it ends
            await self._process.wait()

    def _read(self) -> None:
        try:
            message = self._control.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            message = b""
        if not message:
            self._hang_up()
            return
        report = json.loads(message)
        ended = self._running.get(report["program"])
        if ended is None or ended.done():
            return
        if "errno" in report:
            ended.set_exception(ExecutionError(report["errno"]))
        else:
            ended.set_result(report["status"])

    def _hang_up(self) -> None:
        if self._control.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._control)
            self._control.close()
        for ended in self._running.values():
            if not ended.done():
                ended.set_exception(SandboxStopped())


class _Output(asyncio.Protocol):
    """Reads a program's stdout or stderr, and passes on what arrives."""

    def __init__(self, on_chunk: OnChunk) -> None:
        self._on_chunk = on_chunk
        self._received = 0
        self._closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._transport: asyncio.BaseTransport | None = None

    @classmethod
    async def open(cls, on_chunk: OnChunk) -> tuple[_Output, int]:
        """Returns the output, and the descriptor that the program writes to."""
        ours, theirs = os.pipe2(os.O_CLOEXEC)
        loop = asyncio.get_running_loop()
        transport, output = await loop.connect_read_pipe(lambda: cls(on_chunk), os.fdopen(ours, "rb", buffering=0))
        output._transport = transport
        return output, theirs

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        self._on_chunk(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._closed.done():
            self._closed.set_result(None)

    async def drain(self) -> None:
        """Reads what is in the pipe after the program's end.

        Does not wait until other processes close the pipe.
        """
        for _ in range(_DRAIN_ROUNDS):
            received = self._received
            done, _ = await asyncio.wait({self._closed}, timeout=_DRAIN_SECONDS)
            if done or self._received == received:
                return

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


@contextlib.contextmanager
def _message_file(value: object) -> Iterator[int]:
    """Yields a descriptor of a memory file that holds `value` as JSON: a message of any size."""
    descriptor = os.memfd_create("message", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(descriptor), "w") as file:
            json.dump(value, file)
        yield descriptor
    finally:
        os.close(descriptor)


async def _send_descriptors(control: socket.socket, message: bytes, descriptors: Sequence[int]) -> None:
    while True:
        try:
            socket.send_fds(control, [message], list(descriptors))
            return
        except BlockingIOError:
            await asyncio.sleep(0.01)
