"""Process 1 of a sandbox: builds the root, gives up every privilege, then starts what it is told to.

Run as a file by `sandbox.py`, inside fresh user, mount, pid, network, ipc and uts namespaces, with no site-packages and
an empty environment; standard library only. The argument is the descriptor of a SOCK_SEQPACKET socket to the agent:

    agent → init   "layout" with the descriptor of a file that holds a `sandbox.Layout` and a `mount_point` as JSON;
                   then per program: its number, with [stdout, stderr, the file of a `sandbox.Program`]
    init → agent   {"ready": pid} or {"failed": sentence}; then {"program": n, "errno": e} where it could not be
                   executed, or {"program": n, "status": s} at its end: its exit status, or the bare signal number

When the agent closes its end, or dies, init ends, and with it every process of the sandbox.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import select
import signal
import socket
import struct
import sys
from collections.abc import Callable
from typing import Any

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 0x1, 0x2, 0x4, 0x8
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
MNT_DETACH = 2
AT_FDCWD, AT_RECURSIVE, MOUNT_ATTR_RDONLY = -100, 0x8000, 0x1
SYS_MOUNT_SETATTR = 442  # the same on every architecture
SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 1, 4, 24, 38
LAST_CAPABILITY = 63
# All providers share one machine: their tasks must not keep the daemons from hearing of each other every second.
TASK_NICENESS = 10

libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    control = socket.socket(fileno=int(sys.argv[1]))
    # as a child of `unshare`; if that is killed, so are we, and then all of the sandbox
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    try:
        _, (descriptor,), _, _ = socket.recv_fds(control, 64, 1)
        build_root(read_json(descriptor))
        give_up_privileges()
    except OSError as error:
        control.send(json.dumps({"failed": str(error)}).encode())
        raise SystemExit(1) from None
    os.nice(TASK_NICENESS)
    control.send(json.dumps({"ready": os.getpid()}).encode())
    serve(control)


def build_root(layout: dict[str, Any]) -> None:
    """Assemble the root that `layout` describes on a tmpfs, and make it ours. See `sandbox.Layout`."""
    root = str(layout["mount_point"])
    mount(None, "/", None, MS_REC | MS_PRIVATE)
    mount("tmpfs", root, "tmpfs", MS_NOSUID | MS_NODEV, f"size={layout['root_size']},mode=755")
    for folder in ("proc", "sys", "dev", "etc", "tmp", "run", "var/tmp", "root", ".old"):
        os.makedirs(f"{root}/{folder}", exist_ok=True)
    mount("proc", f"{root}/proc", "proc", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC)
    build_dev(f"{root}/dev")
    mount("tmpfs", f"{root}/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "mode=777")
    for path, target in layout["links"]:
        os.symlink(target, root + path)
    for path, text, mode in layout["files"]:
        os.makedirs(os.path.dirname(root + path), exist_ok=True)
        with open(root + path, "w") as file:
            file.write(text)
        os.chmod(root + path, mode)
    for source, path in layout["read_only"]:
        bind(source, root + path)
        set_read_only(root + path)
    for source, path in layout["volumes"]:
        bind(source, root + path)
    os.chdir(root)
    pivot_root(".", ".old")
    call(libc.umount2, b"/.old", MNT_DETACH)
    os.rmdir("/.old")
    os.chdir("/")
    socket.sethostname("golem")
    loopback_up()


def build_dev(dev: str) -> None:
    mount("tmpfs", dev, "tmpfs", MS_NOSUID, "mode=755,size=64k")
    for name in ("null", "zero", "full", "random", "urandom"):
        bind(f"/dev/{name}", f"{dev}/{name}")
    os.symlink("/proc/self/fd", f"{dev}/fd")
    os.mkdir(f"{dev}/shm")
    mount("tmpfs", f"{dev}/shm", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=1777")


def bind(source: str, target: str) -> None:
    """Bind `source` with all that is mounted below it (a namespace may not take it apart) on a new `target`."""
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "a"):
            pass
    mount(source, target, None, MS_BIND | MS_REC)


def set_read_only(path: str) -> None:
    attributes = struct.pack("QQQQ", MOUNT_ATTR_RDONLY, 0, 0, 0)
    arguments = (AT_FDCWD, path.encode(), AT_RECURSIVE, attributes, len(attributes))
    call(libc.syscall, SYS_MOUNT_SETATTR, *arguments, what=f"making {path} read-only (Linux 5.12 or newer)")


def pivot_root(new: str, old: str) -> None:
    number = SYS_PIVOT_ROOT.get(os.uname().machine)
    if number is None:
        raise OSError(errno.ENOSYS, f"pivot_root on {os.uname().machine} is not known to the sandbox")
    call(libc.syscall, number, new.encode(), old.encode(), what="pivot_root")


def loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as interface:
        up = struct.pack("16sH14x", b"lo", 0x1 | 0x40)  # IFF_UP | IFF_RUNNING
        fcntl.ioctl(interface, 0x8914, up)  # SIOCSIFFLAGS


def give_up_privileges() -> None:
    """No capability survives, for us and for all we start; nobody in here may look into this process."""
    call(libc.prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    for capability in range(LAST_CAPABILITY):
        if libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0:
            break  # past the last one that this kernel has
    header, none = struct.pack("Ii", 0x20080522, 0), bytes(24)
    call(libc.capset, header, none, what="dropping capabilities")
    call(libc.prctl, PR_SET_DUMPABLE, 0, 0, 0, 0)


def serve(control: socket.socket) -> None:
    """Start programs and report their ends until the agent hangs up; reap whatever is orphaned."""
    wake_read, wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_write)
    programs: dict[int, int] = {}
    while True:
        ready, _, _ = select.select([control.fileno(), wake_read], [], [])
        if wake_read in ready:
            os.read(wake_read, 4096)
        if control.fileno() in ready:
            message, descriptors, _, _ = socket.recv_fds(control, 64, 3)
            if not message:
                return
            program = int(message)
            failure, pid = start(*descriptors)
            if pid is None:
                send(control, {"program": program, "errno": failure})
            else:
                programs[pid] = program
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            if pid in programs:
                code = os.waitstatus_to_exitcode(status)
                send(control, {"program": programs.pop(pid), "status": abs(code)})


def send(control: socket.socket, message: dict[str, int | None]) -> None:
    control.send(json.dumps(message).encode())


def start(stdout: int, stderr: int, program: int) -> tuple[int, int | None]:
    """Fork and execute; (0, pid), or (errno, None) where the program could not be executed."""
    spec = read_json(program)
    failed_read, failed_write = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
            os.dup2(stdout, 1)
            os.dup2(stderr, 2)
            os.closerange(3, failed_write)
            os.closerange(failed_write + 1, 4096)
            os.chdir(spec["cwd"])
            path, *arguments = spec["argv"]
            os.execve(path, [os.path.basename(path), *arguments], spec["env"])
        except OSError as error:
            os.write(failed_write, struct.pack("i", error.errno or 1))
        except ValueError:  # a null byte in an argument
            os.write(failed_write, struct.pack("i", errno.EINVAL))
        finally:
            os._exit(127)
    for descriptor in (stdout, stderr, failed_write):
        os.close(descriptor)
    failure = os.read(failed_read, 4)
    os.close(failed_read)
    if failure:
        os.waitpid(pid, 0)
        return struct.unpack("i", failure)[0], None
    return 0, pid


def read_json(descriptor: int) -> dict[str, Any]:
    with os.fdopen(descriptor) as file:
        file.seek(0)
        value: dict[str, Any] = json.load(file)
        return value


def mount(source: str | None, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    encoded = [value.encode() if value is not None else None for value in (source, target, kind)]
    data = options.encode() if options is not None else None
    call(libc.mount, *encoded, ctypes.c_ulong(flags), data, what=f"mounting {source or kind} on {target}")


def call(function: Callable[..., int], *arguments: object, what: str = "a system call") -> None:
    if function(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


if __name__ == "__main__":
    main()
