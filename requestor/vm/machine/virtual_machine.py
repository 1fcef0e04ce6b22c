"""Boots an image in a virtual machine of QEMU, and runs programs in it.

The machine is that of ya-runtime-vm (runtime/src/vmrt.rs there): the squashfs on a virtio disk, an overlay of 128 MiB
in memory over it, each volume a folder that both sides share by 9p, no network. A program is executed without a shell,
a PATH or an environment. What differs: the kernel is newer, one folder more is shared (see `guest_init.sh`), a busybox
lies in /dev, and output is written to files.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from requestor.errors import DevnetError
from requestor.image import ImageInfo
from requestor.vm.machine.initramfs import write_initramfs
from requestor.vm.machine.kernel import GuestKernel

QEMU = "qemu-system-x86_64"
EMULATED_CPU = "Nehalem"  # the fastest to emulate, and older than what any provider has
BOOT_SECONDS = {"kvm": 20.0, "tcg": 240.0}
"""The seconds in which a machine boots, by QEMU's name of what runs it."""

OnChunk = Callable[[bytes], None]
_POLL_SECONDS = 0.1
_CHUNK_BYTES = 1 << 16
_MIB = 1 << 20


class ProgramNotExecuted(Exception):
    """Says that a program could not be executed; `errno` tells why (2: no such file, 13: no permission)."""

    def __init__(self, errno: int) -> None:
        super().__init__(os.strerror(errno))
        self.errno = errno


class MachineEnded(Exception):
    """Says that the virtual machine ended while a program was running, and what its kernel said last."""


@dataclass(frozen=True)
class MachineOptions:
    """Describes a virtual machine.

    kernel: the kernel that it boots.
    memory: bytes of memory.
    threads: number of its processors.
    cpu: QEMU's name of a CPU model; None for this machine's with KVM, else `EMULATED_CPU`.
    accelerators: what may run it, in this order: "kvm", which needs /dev/kvm, and "tcg", which emulates.
    """

    kernel: GuestKernel
    memory: int
    threads: int = 1
    cpu: str | None = None
    accelerators: tuple[str, ...] = ("kvm", "tcg")


@dataclass(frozen=True)
class MachineUse:
    """Tells what a program left of its machine.

    available: least bytes of memory that were available while it ran, sampled ten times a second; total: bytes of
    memory that the kernel manages; written: bytes that are written to the root's overlay.
    """

    available: int
    total: int
    written: int


@dataclass
class VirtualMachine:
    """Runs programs in a booted machine. `boot` makes one; `stop` ends it with all that runs in it.

    accelerator, cpu: what runs it, and its CPU model.
    boot_seconds: the time until its first program could start.
    use: what the last program left of the machine.
    """

    accelerator: str
    cpu: str
    boot_seconds: float
    _process: asyncio.subprocess.Process
    _folder: Path
    _image: ImageInfo
    use: MachineUse = field(default_factory=lambda: MachineUse(0, 0, 0))
    _programs: int = 0

    @property
    def pid(self) -> int:
        """Returns the process id of QEMU."""
        return self._process.pid

    @classmethod
    async def boot(
        cls, options: MachineOptions, image: ImageInfo, volumes: Mapping[str, Path], folder: Path
    ) -> VirtualMachine:
        """Boots `image` by the first accelerator that does it in its time.

        Args:
            options: the machine.
            image: the image.
            volumes: path in the machine → folder of this machine that is shared as this volume.
            folder: an empty folder for the machine's own files.

        Raises DevnetError if QEMU is missing or no accelerator boots the image.
        """
        if shutil.which(QEMU) is None:
            raise DevnetError(f"A virtual machine needs {QEMU}, which is missing: apt-get install qemu-system-x86.")
        await asyncio.to_thread(write_initramfs, options.kernel, folder / "initramfs")
        reasons = []
        for accelerator in options.accelerators:
            if accelerator == "kvm" and not os.access("/dev/kvm", os.R_OK | os.W_OK):
                reasons.append("/dev/kvm may not be used")
                continue
            cpu = options.cpu or ("host" if accelerator == "kvm" else EMULATED_CPU)
            began = time.monotonic()
            control = _make_control(folder, accelerator, volumes)
            process = await _start(options, accelerator, cpu, image, volumes, control)
            reason = await _wait_for_boot(process, control, BOOT_SECONDS[accelerator])
            if reason is None:
                return cls(accelerator, cpu, time.monotonic() - began, process, control, image)
            reasons.append(f"with {accelerator}, {reason}")
        raise DevnetError(f"{image.path} did not boot in a virtual machine: {'; '.join(reasons)}.")

    async def run(
        self,
        entry_point: str,
        arguments: Sequence[str],
        on_stdout: OnChunk,
        on_stderr: OnChunk,
        environment: Mapping[str, str] | None = None,
    ) -> int:
        """Runs a program to its end; returns its exit status 0..255, or the bare number of the signal that killed it.

        Exit statuses above 128 cannot be told from signals. `on_stdout` and `on_stderr` get the output as it arrives.
        Raises ProgramNotExecuted if the program cannot be executed, MachineEnded if the machine ends meanwhile.
        """
        number, self._programs = self._programs, self._programs + 1
        script = _script(entry_point, arguments, self._image.working_dir, environment or {})
        draft = self._folder / f"draft-{number}"
        draft.write_text(script)
        draft.rename(self._folder / f"program-{number}")
        outputs = [_Output(self._folder / f"stdout-{number}", on_stdout)]
        outputs.append(_Output(self._folder / f"stderr-{number}", on_stderr))
        while not (status := _read(self._folder / f"status-{number}")):
            if self._process.returncode is not None:
                raise MachineEnded(_last_words(self._folder))
            await asyncio.sleep(_POLL_SECONDS)
            for output in outputs:
                output.pass_on()
        for output in outputs:
            while output.pass_on():
                pass
        if errno := _read(self._folder / f"errno-{number}").strip():
            raise ProgramNotExecuted(int(errno))
        code, available, total, written = map(int, status.split())
        self.use = MachineUse(available * 1024, total * 1024, written * 1024)
        return code - 128 if code > 128 else code

    async def stop(self) -> None:
        """Ends the machine. The volumes stay. May be called twice."""
        await _end(self._process)


def _make_control(folder: Path, name: str, volumes: Mapping[str, Path]) -> Path:
    """Makes the folder that the host and `guest_init.sh` share, and tells it which volumes are mounted where."""
    control = folder / name
    control.mkdir()
    (control / "volumes").write_text("".join(f"volume{number} {path}\n" for number, path in enumerate(volumes)))
    return control


async def _start(
    options: MachineOptions,
    accelerator: str,
    cpu: str,
    image: ImageInfo,
    volumes: Mapping[str, Path],
    control: Path,
) -> asyncio.subprocess.Process:
    shared = {"control": control, **{f"volume{number}": path for number, path in enumerate(volumes.values())}}
    arguments = [
        *("-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-vga", "none", "-nic", "none"),
        *("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"),
        *("-accel", accelerator, "-cpu", cpu, "-smp", str(options.threads), "-m", f"{options.memory // _MIB}M"),
        *("-kernel", str(options.kernel.image), "-initrd", str(control.parent / "initramfs")),
        *("-append", "console=ttyS0 panic=-1 quiet loglevel=4"),
        *("-serial", f"file:{_escaped(control.parent / f'{control.name}.console')}"),
        *("-device", "virtio-rng-pci"),
        *("-drive", f"file={_escaped(image.path)},format=raw,if=virtio,readonly=on,cache=unsafe"),
    ]
    for tag, path in shared.items():
        arguments += ["-virtfs", f"local,path={_escaped(path)},mount_tag={tag},security_model=none,multidevs=remap"]
    return await asyncio.create_subprocess_exec(
        *(QEMU, *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=(control.parent / f"{control.name}.errors").open("wb"),
        start_new_session=True,
    )


def _escaped(path: Path) -> str:
    return str(path.absolute()).replace(",", ",,")


async def _wait_for_boot(process: asyncio.subprocess.Process, control: Path, seconds: float) -> str | None:
    """Waits until the machine can run programs; returns None then, and otherwise the reason why it cannot."""
    until = time.monotonic() + seconds
    try:
        while time.monotonic() < until:
            if (control / "ready").exists():
                return None
            if process.returncode is not None:
                return _read(control / "failed").strip()[:300] or f"it ended: {_last_words(control)}"
            await asyncio.sleep(_POLL_SECONDS)
    except BaseException:
        await _end(process)
        raise
    await _end(process)
    return f"it had not booted after {seconds:.0f} s"


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGKILL)
        await process.wait()


def _script(entry_point: str, arguments: Sequence[str], working_dir: str, environment: Mapping[str, str]) -> str:
    """Returns a script that executes a program as ya-runtime-vm does: argv[0] is its bare name, and nothing is set.

    Descriptor 3 takes the number of the error if the program cannot be executed.
    """
    program, place = shlex.quote(entry_point), shlex.quote(working_dir or "/")
    return "\n".join(
        [
            f"cd {place} || {{ echo 2 >&3; exit 2; }}",
            f"[ -f {program} ] || {{ echo 2 >&3; exit 2; }}",
            f"[ -x {program} ] || {{ echo 13 >&3; exit 13; }}",
            "exec 3>&-",
            'for name in $(set | /dev/busybox sed -n "s/=.*//p"); do unset "$name" 2>/dev/null; done',
            *(f"export {name}={shlex.quote(value)}" for name, value in environment.items()),
            f"exec -a {shlex.quote(PurePosixPath(entry_point).name)} {program} {shlex.join(arguments)}",
            "",
        ]
    )


class _Output:
    """Follows the file to which a program writes."""

    def __init__(self, path: Path, on_chunk: OnChunk) -> None:
        self._path, self._on_chunk, self._offset = path, on_chunk, 0

    def pass_on(self) -> bool:
        """Passes on what is new, 64 KiB at most; returns False if nothing is."""
        chunk = _read_bytes(self._path, self._offset)
        self._offset += len(chunk)
        if chunk:
            self._on_chunk(chunk)
        return bool(chunk)


def _read(path: Path) -> str:
    return _read_bytes(path).decode(errors="replace")


def _read_bytes(path: Path, offset: int = 0) -> bytes:
    """Reads a file that the machine has written, 64 KiB at most; empty if there is none. Links are not followed."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return b""
    try:
        return os.pread(descriptor, _CHUNK_BYTES, offset)
    except OSError:
        return b""
    finally:
        os.close(descriptor)


def _last_words(control: Path) -> str:
    """Returns what QEMU or the machine's kernel said last."""
    for kind in ("errors", "console"):
        said = (control.parent / f"{control.name}.{kind}").read_bytes().decode(errors="replace").strip().splitlines()
        if said:
            return said[-1].strip()[:300]
    return "no reason given"
