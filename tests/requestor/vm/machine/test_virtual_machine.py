"""A virtual machine with a tiny image, booted once: what its programs find there is what they find on Golem.

The machine is emulated, so that the test does not depend on KVM.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from tiny_image import make_image

from requestor.errors import DevnetError
from requestor.image.gvmi import ImageInfo
from requestor.vm.machine import virtual_machine
from requestor.vm.machine.kernel import GuestKernel, debian_kernel
from requestor.vm.machine.virtual_machine import (
    QEMU,
    MachineEnded,
    MachineOptions,
    ProgramNotExecuted,
    VirtualMachine,
)

MIB = 1 << 20
MEMORY = 256 * MIB


@dataclass(frozen=True)
class Booted:
    """A machine, its volume /golem/work, and the loop in which it lives."""

    machine: VirtualMachine
    volume: Path
    loop: asyncio.AbstractEventLoop

    def run(self, program: str, *arguments: str, environment: Mapping[str, str] | None = None) -> tuple[int, str, str]:
        out, err = bytearray(), bytearray()
        running = self.machine.run(program, arguments, out.extend, err.extend, environment)
        status = self.loop.run_until_complete(running)
        return status, out.decode(), err.decode()


@pytest.fixture(scope="module")
def kernel() -> GuestKernel:
    if shutil.which(QEMU) is None:
        pytest.skip("needs qemu-system-x86")
    try:
        return debian_kernel()
    except DevnetError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> ImageInfo:
    files = {"/opt/app/no-program": "text", "/golem/work/hidden": "is hidden by the volume"}
    return make_image(tmp_path_factory.mktemp("image"), files=files)


@pytest.fixture(scope="module")
def booted(kernel: GuestKernel, image: ImageInfo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Booted]:
    folder = tmp_path_factory.mktemp("machine")
    volumes = {path: folder / f"volume{number}" for number, path in enumerate(image.volumes)}
    for path in (folder / "own", *volumes.values()):
        path.mkdir()
    options = MachineOptions(kernel, MEMORY, accelerators=("tcg",))
    loop = asyncio.new_event_loop()
    machine = loop.run_until_complete(VirtualMachine.boot(options, image, volumes, folder / "own"))
    yield Booted(machine, volumes["/golem/work"], loop)
    loop.run_until_complete(machine.stop())
    loop.close()


def test_a_program_gets_its_bare_name_no_environment_and_the_images_folder(booted: Booted) -> None:
    assert booted.run("/usr/bin/env") == (0, "", "")
    assert booted.run("/usr/bin/cat", "/proc/self/cmdline") == (0, "cat\0/proc/self/cmdline\0", "")
    assert booted.run("/usr/bin/pwd") == (0, "/opt/app\n", "")


def test_an_environment_is_passed_to_the_letter(booted: Booted) -> None:
    given = {"GREETING": "it's $HOME; `true`", "PATH": "/usr/bin"}
    status, out, _ = booted.run("/usr/bin/env", environment=given)
    assert (status, dict(line.split("=", 1) for line in out.splitlines())) == (0, given)


def test_arguments_are_passed_to_the_letter(booted: Booted) -> None:
    arguments = ("a b", "", "it's", "$PATH", "line\nbreak", "*")
    expected = "".join(f"<{argument}>" for argument in arguments)
    assert booted.run("/usr/bin/printf", "<%s>", *arguments) == (0, expected, "")


@pytest.mark.parametrize(("program", "errno"), [("/usr/bin/nothing", 2), ("/opt/app/no-program", 13), ("bash", 2)])
def test_what_cannot_be_executed_is_told_from_what_fails(booted: Booted, program: str, errno: int) -> None:
    with pytest.raises(ProgramNotExecuted) as failure:
        booted.run(program)
    assert failure.value.errno == errno


def test_statuses_and_signals_are_those_of_golem(booted: Booted) -> None:
    assert booted.run("/bin/sh", "-c", "echo said >&2; exit 3") == (3, "", "said\n")
    assert booted.run("/bin/sh", "-c", "kill -9 $$")[0] == 9


def test_volumes_are_empty_folders_that_both_sides_share(booted: Booted) -> None:
    assert booted.run("/usr/bin/ls", "/golem/work")[:2] == (0, "")
    (booted.volume / "sent").write_text("from here")
    assert booted.run("/usr/bin/cat", "/golem/work/sent")[:2] == (0, "from here")
    assert booted.run("/bin/sh", "-c", "echo back > /golem/work/back")[0] == 0
    assert (booted.volume / "back").read_text() == "back\n"


def test_there_is_no_network_and_no_part_of_this_machine(booted: Booted) -> None:
    assert booted.run("/usr/bin/ls", "/sys/class/net")[:2] == (0, "lo\n")
    assert "control" not in booted.run("/usr/bin/ls", "/")[1]


def test_no_more_than_128_mib_can_be_written_to_the_root(booted: Booted) -> None:
    booted.run("/usr/bin/true")
    assert booted.machine.use.written < MIB
    before = booted.machine.use.available
    status, _, err = booted.run("/bin/sh", "-c", f"head -c {140 * MIB} /dev/zero > /opt/app/full")
    assert status != 0
    assert "No space left" in err
    assert 127 * MIB < booted.machine.use.written <= 128 * MIB
    assert before - booted.machine.use.available > 100 * MIB  # what is written is in memory
    assert booted.machine.use.total < MEMORY


def test_a_machine_that_ends_says_so(booted: Booted) -> None:
    async def run() -> None:
        running = asyncio.ensure_future(booted.machine.run("/usr/bin/sleep", ["60"], bytes, bytes))
        await asyncio.sleep(0.5)
        await booted.machine.stop()
        await running

    with pytest.raises(MachineEnded):
        booted.loop.run_until_complete(run())


def boot(options: MachineOptions, image: ImageInfo, folder: Path) -> None:
    asyncio.run(VirtualMachine.boot(options, image, {}, folder))


def test_a_machine_that_does_not_boot_in_time_says_so(
    kernel: GuestKernel, image: ImageInfo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(virtual_machine.BOOT_SECONDS, "tcg", 0.2)
    with pytest.raises(DevnetError, match="with tcg, it had not booted after"):
        boot(MachineOptions(kernel, MEMORY, accelerators=("tcg",)), image, tmp_path)


def test_an_unknown_cpu_is_refused_by_its_name(kernel: GuestKernel, image: ImageInfo, tmp_path: Path) -> None:
    with pytest.raises(DevnetError, match="Pentium-9000"):
        boot(MachineOptions(kernel, MEMORY, cpu="Pentium-9000", accelerators=("tcg",)), image, tmp_path)


def test_without_qemu_the_package_is_named(image: ImageInfo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DevnetError, match="apt-get install qemu-system-x86"):
        boot(MachineOptions(GuestKernel(tmp_path, "6", (), tmp_path), MEMORY), image, tmp_path)
