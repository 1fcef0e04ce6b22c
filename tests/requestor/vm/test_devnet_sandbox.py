"""The sandbox: what a task cannot reach, and what it finds instead."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from requestor.vm.sandbox import PYTHON_IN_SANDBOX, ExecutionError, Program, Sandbox, SandboxLayout, SandboxStopped


@dataclass
class Ended:
    status: int
    stdout: str
    stderr: str


Run = Callable[..., Awaitable[Ended]]


def in_sandbox(folder: Path, use: Callable[[Run, Sandbox], Awaitable[None]], **limits: int) -> None:
    """Boots a sandbox with two volumes, and calls `use` with a function that runs programs in it."""
    for name in ("root", "work", "scratch"):
        (folder / name).mkdir()
    volumes = {"/golem/work": folder / "work", "/tmp/scratch": folder / "scratch"}

    async def session() -> None:
        sandbox = await Sandbox.boot(SandboxLayout.of_host(volumes, **limits), folder / "root")

        async def run(*argv: str) -> Ended:
            stdout, stderr = bytearray(), bytearray()
            status = await sandbox.run(Program(argv), stdout.extend, stderr.extend)
            return Ended(status, stdout.decode(), stderr.decode())

        try:
            await asyncio.wait_for(use(run, sandbox), 60)
        finally:
            await sandbox.stop()

    asyncio.run(session())
    assert not list((folder / "root").iterdir())


def shell(run: Run, script: str) -> Awaitable[Ended]:
    return run("/bin/sh", "-c", script)


def test_the_hosts_files_are_not_there(tmp_path: Path):
    (tmp_path / "secret").write_text("the requestor's")

    async def use(run: Run, _: Sandbox) -> None:
        for path in (
            tmp_path / "secret",
            "/etc/shadow",
            "/var/lib/dpkg",
            "/proc/1/root/etc/shadow",
            Path.home() / ".ssh",
        ):
            assert (await run("/usr/bin/test", "-e", str(path))).status == 1, path
        found = (await shell(run, "ls /")).stdout.split()
        assert not {"srv", "boot", "mnt", "media", "old_root"} & set(found)
        found = await shell(run, "find / -xdev -name test_devnet_sandbox.py 2>/dev/null | head -3")
        assert found.stdout == ""

    in_sandbox(tmp_path, use)


def test_of_this_project_only_the_providers_part_is_there(tmp_path: Path):
    async def use(run: Run, _: Sandbox) -> None:
        ended = await run(PYTHON_IN_SANDBOX, "-c", "import provider_image, nima; print('found')")
        assert (ended.stdout, ended.status) == ("found\n", 0)
        ended = await run(
            PYTHON_IN_SANDBOX, "-c", "import importlib.util as u; print(u.find_spec('requestor.commands.main'))"
        )
        assert "ModuleNotFoundError" in ended.stderr

    in_sandbox(tmp_path, use)


def test_nothing_of_the_host_can_be_changed(tmp_path: Path):
    async def use(run: Run, _: Sandbox) -> None:
        for path in ("/usr/x", "/proc/sys/kernel/core_pattern", "/sys/devices/system/cpu/x", "/etc/alternatives/x"):
            ended = await shell(run, f"echo x > {path}")
            assert ended.status != 0, path
            assert not Path("/usr/x").exists()
        # there is no way back to more rights, in this namespace or in another
        for escape in (
            "mount -o remount,rw,bind /usr",
            "umount -l /usr",
            "mount -t tmpfs tmpfs /mnt",
            "unshare --user --map-root-user --mount true",
            "chroot / true",
            "chown 1000 /golem/work",
        ):
            assert (await shell(run, escape)).status != 0, escape
        capabilities = (await shell(run, "grep Cap /proc/self/status")).stdout.split()[1::2]
        assert capabilities == ["0000000000000000"] * 5

    in_sandbox(tmp_path, use)


def test_there_is_no_network(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as host:
        port = host.getsockname()[1]
        connect = f"import socket; socket.create_connection(('127.0.0.1', {port}), 2)"

        async def use(run: Run, _: Sandbox) -> None:
            assert "Connection refused" in (await run(PYTHON_IN_SANDBOX, "-c", connect)).stderr
            outside = "import socket; socket.create_connection(('1.1.1.1', 53), 2)"
            assert "Network is unreachable" in (await run(PYTHON_IN_SANDBOX, "-c", outside)).stderr
            loopback = (
                "import socket; s=socket.create_server(('127.0.0.1',7)); socket.create_connection(s.getsockname())"
            )
            ended = await run(PYTHON_IN_SANDBOX, "-c", loopback.replace("',7)", "',7000)"))
            assert ended.status == 0, "loopback works"
            assert (await shell(run, "cat /etc/resolv.conf")).stdout == "nameserver 1.1.1.1\nnameserver 8.8.8.8\n"
            unix = "import socket; print(len(open('/proc/net/unix').readlines()))"
            assert int((await run(PYTHON_IN_SANDBOX, "-c", unix)).stdout) == 1, (
                "abstract sockets of the host are not seen"
            )

        in_sandbox(tmp_path, use)


def test_what_leads_past_the_namespaces_is_denied(tmp_path: Path):
    attempts = """
import ctypes, errno, os, socket
libc = ctypes.CDLL(None, use_errno=True)
def called(number, *arguments):
    return errno.errorcode.get(ctypes.get_errno(), 0) if libc.syscall(number, *arguments) < 0 else "done"
for family in (40, 17, 38):  # AF_VSOCK, AF_PACKET, AF_ALG
    try:
        print(errno.errorcode[0 * socket.socket(family, socket.SOCK_STREAM).fileno()])
    except OSError as error:
        print(errno.errorcode[error.errno])
io_uring, bpf, userfaultfd = (425, 321, 323) if os.uname().machine == "x86_64" else (425, 280, 282)
print(called(io_uring, 8, bytes(120)), called(bpf, 0, 0, 0), called(userfaultfd, 0))
print("denied" if libc.unshare(0x10000000) else "a user namespace")
print("denied" if libc.ptrace(16, 1, 0, 0) else "attached to process 1")
"""

    async def use(run: Run, _: Sandbox) -> None:
        ended = await run(PYTHON_IN_SANDBOX, "-c", attempts)
        assert ended.stdout.split() == [*["EAFNOSUPPORT"] * 3, *["ENOSYS"] * 3, "denied", "denied"], ended.stderr

    in_sandbox(tmp_path, use)


def test_too_many_processes_or_threads_end_all_programs(tmp_path: Path):
    """Both stop at a number, so that a failure of this test harms nobody."""
    processes = "i=0; while [ $i -lt 1500 ]; do sleep 20 & i=$((i+1)); done; wait"
    threads = (
        "import threading, time\n"
        "for _ in range(1500): threading.Thread(target=time.sleep, args=(20,), daemon=True).start()\n"
        "time.sleep(20)"
    )

    async def use(run: Run, _: Sandbox) -> None:
        assert (await shell(run, processes)).status == signal.SIGKILL
        assert (await run(PYTHON_IN_SANDBOX, "-c", threads)).status == signal.SIGKILL
        assert (await shell(run, "echo usable; for p in /proc/[0-9]*; do echo .; done")).stdout.count("\n") < 5

    in_sandbox(tmp_path, use)


# Each process forks until 3,000 forks are counted, or until five seconds are over.
FORK_BOMB = """
import mmap, os, struct, time
counter, end = mmap.mmap(-1, 8), time.monotonic() + 5
highest = os.open("/golem/work/highest", os.O_RDWR | os.O_CREAT)
while time.monotonic() < end:
    count, most = struct.unpack("ii", counter[:])
    if count > 3000:
        break
    counter[:] = struct.pack("ii", count + 1, max(most, os.getpid()))
    os.pwrite(highest, b"%08d" % max(most, os.getpid()), 0)
    try:
        os.fork()
    except OSError:
        pass
"""


def test_a_fork_bomb_is_bounded_by_the_kernel_and_ended(tmp_path: Path):
    async def use(run: Run, _: Sandbox) -> None:
        before = int(Path("/proc/sys/kernel/pid_max").read_text())
        limits = await shell(run, "cat /proc/sys/kernel/pid_max; ulimit -u 2>/dev/null || ulimit -p")
        pid_max, processes = map(int, limits.stdout.split())
        assert processes == 2048
        new = tuple(map(int, os.uname().release.split(".")[:2])) >= (6, 14)
        assert pid_max == (2048 if new else before)
        assert (await run(PYTHON_IN_SANDBOX, "-c", FORK_BOMB)).status == signal.SIGKILL
        if new or os.getuid() != 0:
            assert int((tmp_path / "work" / "highest").read_text()) <= 2048
        assert (await shell(run, "echo usable")).stdout == "usable\n"
        assert int(Path("/proc/sys/kernel/pid_max").read_text()) == before, "the host's is another"

    in_sandbox(tmp_path, use)


def test_every_task_has_limits_with_and_without_an_image(tmp_path: Path):
    volumes = {"/golem/work": tmp_path}
    for layout in (SandboxLayout.of_host(volumes), SandboxLayout.of_image(tmp_path, volumes)):
        assert 0 < layout.volume_size <= 16 * 2**30
        assert 0 < layout.root_size <= 128 * 2**20


@pytest.mark.parametrize(
    "fill",
    [
        "head -c 40000000 /dev/zero > /golem/work/one",
        "for i in 1 2 3 4; do head -c 9000000 /dev/zero > /tmp/scratch/$i; done; sleep 60",
        "mkdir /golem/work/hidden; chmod 0 /golem/work/hidden; sleep 60",
    ],
    ids=["a large file", "many files", "a hidden folder"],
)
def test_a_task_that_fills_its_volumes_is_ended(tmp_path: Path, fill: str):
    async def use(run: Run, _: Sandbox) -> None:
        assert (await shell(run, fill)).status != 0
        held = sum(path.stat().st_blocks * 512 for path in tmp_path.glob("*/*") if path.is_file())
        assert held < 40_000_000
        if (hidden := tmp_path / "work" / "hidden").exists():
            hidden.chmod(0o700)  # so that pytest can delete it

    in_sandbox(tmp_path, use, volume_size=20_000_000)


def test_processes_of_the_host_are_neither_seen_nor_reached(tmp_path: Path):
    async def use(run: Run, _: Sandbox) -> None:
        pids = (await shell(run, "for p in /proc/[0-9]*; do echo ${p#/proc/}; done")).stdout.split()
        assert str(os.getpid()) not in pids
        assert len(pids) <= 3
        assert (await shell(run, "cat /proc/1/environ; readlink /proc/1/fd/*")).stdout == ""
        assert (await shell(run, "kill -9 1; echo alive")).stdout == "alive\n"
        assert (await shell(run, "echo alive")).stdout == "alive\n"

    in_sandbox(tmp_path, use)


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="has that machine's numbers of system calls")
def test_keys_of_the_host_cannot_be_read(tmp_path: Path):
    """The kernel's keyrings belong to no namespace, and a process inherits those of its session."""
    command = [sys.executable, "-c", WITH_A_KEY, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "no keyrings" in done.stderr:
        pytest.skip("needs a kernel with keyrings")
    assert (done.stdout, done.stderr) == ("b'a secret'\nb''\n", "")


READ_A_KEY = """
import ctypes, sys
content = ctypes.create_string_buffer(8)
ctypes.CDLL(None).syscall(250, 11, int(sys.argv[-1]), content, 8)
print(content.value, flush=True)
"""
WITH_A_KEY = f"""
import asyncio, sys
from pathlib import Path
from requestor.vm.sandbox import PYTHON_IN_SANDBOX, SandboxLayout, Program, Sandbox

async def main(key):
    sandbox = await Sandbox.boot(SandboxLayout.of_host({{}}), Path(sys.argv[1]))
    show = lambda data: print(data.decode(), end="")
    await sandbox.run(Program((PYTHON_IN_SANDBOX, "-c", READ, str(key))), show, show)
    await sandbox.stop()

import ctypes
READ = {READ_A_KEY!r}
libc = ctypes.CDLL(None)
libc.syscall(250, 1, None)
key = libc.syscall(248, b"user", b"a name", b"a secret", 8, -3)
if key <= 0:
    sys.exit("no keyrings")
sys.argv.append(str(key))
exec(READ)
asyncio.run(main(key))
"""


def test_a_program_gets_its_arguments_and_nothing_else(tmp_path: Path):
    async def use(run: Run, _: Sandbox) -> None:
        assert (await run("/usr/bin/env")).stdout == ""
        assert (await run("/usr/bin/printf", "%s|", "a b", "$HOME", "*")).stdout == "a b|$HOME|*|"
        assert (
            await run("/bin/sh", "-c", "pwd; id -u; hostname; wc -c; cat /proc/$$/cmdline | tr '\\0' ' '")
        ).stdout.split("\n")[:4] == ["/", "0", "golem", "0"]
        assert (await run("/bin/cat", "/proc/self/cmdline")).stdout.split("\0")[0] == "cat"

    in_sandbox(tmp_path, use)


def test_what_cannot_be_executed_says_why(tmp_path: Path):
    async def use(run: Run, _: Sandbox) -> None:
        for path, errno in (("python3", 2), ("/nowhere", 2), ("/etc/passwd", 13), ("/usr", 13)):
            with pytest.raises(ExecutionError) as raised:
                await run(path)
            assert raised.value.errno == errno, path

    in_sandbox(tmp_path, use)


def test_exit_codes_are_bare(tmp_path: Path):
    async def use(run: Run, _: Sandbox) -> None:
        assert (await shell(run, "exit 42")).status == 42
        assert (await shell(run, "kill -9 $$")).status == 9
        assert (await shell(run, "kill -11 $$")).status == 11

    in_sandbox(tmp_path, use)


def test_volumes_are_shared_and_the_root_is_small(tmp_path: Path):
    async def use(run: Run, _: Sandbox) -> None:
        (tmp_path / "work" / "in").write_text("from the host")
        assert (await shell(run, "cat /golem/work/in; echo back > /golem/work/out")).stdout == "from the host"
        assert (tmp_path / "work" / "out").read_text() == "back\n"
        full = await shell(run, "head -c 140000000 /dev/zero > /big")
        assert "No space left" in full.stderr
        assert (await shell(run, "head -c 140000000 /dev/zero > /tmp/big")).status == 0

    in_sandbox(tmp_path, use)


def test_a_volume_in_tmp_is_there(tmp_path: Path):  # as is a Python in a checkout below /tmp
    async def use(run: Run, _: Sandbox) -> None:
        done = await shell(run, "echo here > /tmp/scratch/file && echo there > /tmp/file")
        assert done.status == 0, done.stderr

    in_sandbox(tmp_path, use)
    assert [path.name for path in (tmp_path / "scratch").iterdir()] == ["file"]


def test_programs_of_one_sandbox_share_it_and_end_with_it(tmp_path: Path):
    async def use(run: Run, sandbox: Sandbox) -> None:
        await shell(run, "echo kept > /tmp/note; sleep 1234567 & echo $! > /tmp/pid")
        assert (await shell(run, "cat /tmp/note; kill -0 $(cat /tmp/pid) && echo alive")).stdout == "kept\nalive\n"
        long = asyncio.ensure_future(run("/bin/sleep", "1234567"))
        await asyncio.sleep(0.1)
        await sandbox.stop()
        with pytest.raises(SandboxStopped):
            await long

    in_sandbox(tmp_path, use)
    assert "sleep\x001234567" not in _command_lines()


def test_output_of_any_size_comes_through(tmp_path: Path):
    async def use(run: Run, _: Sandbox) -> None:
        ended = await shell(run, "head -c 3000000 /dev/zero | tr '\\0' x; head -c 300000 /dev/zero | tr '\\0' y >&2")
        assert (len(ended.stdout), len(ended.stderr)) == (3_000_000, 300_000)
        assert len((await run("/bin/echo", *["x" * 1000] * 900)).stdout) == 900 * 1001, "long argument lists, too"

    in_sandbox(tmp_path, use)


def test_the_sandbox_ends_with_the_process_that_booted_it(tmp_path: Path):
    for name in ("root", "work"):
        (tmp_path / name).mkdir()
    marker = f"9{os.getpid()}"
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:

        async def boot_and_hang() -> None:
            sandbox = await Sandbox.boot(SandboxLayout.of_host({"/golem/work": tmp_path / "work"}), tmp_path / "root")
            asyncio.ensure_future(sandbox.run(Program(("/bin/sleep", marker)), bytes, bytes))  # noqa: RUF006
            while f"sleep\x00{marker}" not in _command_lines():
                await asyncio.sleep(0.02)
            os.write(write, b"running")
            await asyncio.sleep(60)

        try:
            asyncio.run(boot_and_hang())
        finally:
            os._exit(1)
    os.close(write)
    assert os.read(read, 10) == b"running"
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    os.close(read)
    for _ in range(200):
        if f"sleep\x00{marker}" not in _command_lines():
            return
        asyncio.run(asyncio.sleep(0.05))
    pytest.fail("the sandbox outlived its agent")


def test_where_there_are_no_user_namespaces_it_says_so(tmp_path: Path):
    code = (
        "import asyncio, sys; from pathlib import Path; from requestor.vm.sandbox import *\n"
        "try: asyncio.run(Sandbox.boot(SandboxLayout.of_host({}), Path(sys.argv[1])))\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    forbid = 'echo 0 > /proc/sys/user/max_user_namespaces; exec "$@"'  # it applies to the namespace in which it runs
    shell_in_namespace = ["unshare", "--user", "--map-root-user", "/bin/sh", "-c", forbid, "sh"]
    command = [*shell_in_namespace, sys.executable, "-c", code, str(tmp_path)]
    said = subprocess.run(command, capture_output=True, text=True, timeout=30).stdout
    assert said.startswith("DevnetError The devnet could not make a sandbox for a task: unshare")
    assert "user namespaces (sysctl" in said


def _command_lines() -> str:
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_text(errors="replace"))
        except OSError:
            continue
    return "\n".join(lines)
