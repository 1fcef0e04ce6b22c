"""Runs as process 1 of a sandbox: builds the root, gives up every privilege, then starts programs for the agent.

`sandbox.py` runs it as a file, inside fresh user, mount, pid, network, ipc and uts namespaces, with no site-packages
and an empty environment; it uses the standard library only. The argument is the descriptor of a SOCK_SEQPACKET socket
to the agent:

    agent → init   "layout" with the descriptor of a file that holds `sandbox.SandboxLayout` and `mount_point` as JSON;
                   then per program: its number, with [stdout, stderr, the file of a `sandbox.Program`]
    init → agent   {"ready": pid} or {"failed": sentence}; then {"program": n, "errno": e} if it could not be
                   executed, or {"program": n, "status": s} at its end: its exit status, or the bare signal number

When the agent closes its end of the socket, or dies, init ends, and with it every process of the sandbox.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import resource
import select
import signal
import socket
import stat
import struct
import sys
from collections.abc import Callable
from typing import Any

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 0x1, 0x2, 0x4, 0x8
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
MNT_DETACH = 2
AT_FDCWD, AT_EMPTY_PATH, AT_RECURSIVE = -100, 0x1000, 0x8000
OPEN_TREE_CLONE, MOVE_MOUNT_F_EMPTY_PATH, MOUNT_ATTR_RDONLY = 0x1, 0x4, 0x1
SYS_OPEN_TREE, SYS_MOVE_MOUNT, SYS_MOUNT_SETATTR = 428, 429, 442  # the same on every architecture
SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
SYS_KEYCTL, KEYCTL_JOIN_SESSION_KEYRING = {"x86_64": 250, "aarch64": 219}, 1
AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
SYS_SCHED_SETAFFINITY, SYS_SOCKET = {"x86_64": 203, "aarch64": 122}, {"x86_64": 41, "aarch64": 198}
# io_uring_setup, _enter and _register, userfaultfd, perf_event_open, bpf: large parts of the kernel that no task needs
SYS_DENIED = {
    "x86_64": (425, 426, 427, 323, 298, 321),
    "aarch64": (425, 426, 427, 282, 241, 280),
}
X32_NUMBERS = 0x40000000  # from here on, the calls of x86-64's second interface
# AF_UNIX, AF_INET, AF_INET6, AF_NETLINK. Others, such as AF_VSOCK, are not bound to a network namespace.
SOCKET_FAMILIES = (1, 2, 10, 16)
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 1, 4, 22, 24, 38
LAST_CAPABILITY = 63
# All providers share one machine. Tasks must not keep the daemons from hearing of each other every second.
TASK_NICENESS = 10
FILES = (1024, 4096)  # open files, soft and hard limit: the kernel's own defaults, as in the VM
LOOK_SECONDS = 0.1  # between two checks of how much memory is used and how many processes run
IDLE_SECONDS = 1.0  # the same while no program runs, but what programs have left behind may
VOLUME_LOOKS = 5  # number of these checks from one to the next of the volumes
MAX_TASKS = 1024  # processes and threads that a sandbox may have
KERNEL_MAX_TASKS = 2 * MAX_TASKS  # what the kernel allows until `end_excess` has looked: no fork bomb is faster
PIDS_OF_NAMESPACE = (6, 14)  # the first Linux in which kernel.pid_max belongs to the pid namespace, not to the machine
MAX_FILES = 200_000  # files and folders that the volumes may hold
LEAST_FREE = 64 * 2**20  # bytes of the host's disk that are left to the host

libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    """Builds the sandbox, reports the outcome to the agent, and serves it until it closes the socket."""
    control = socket.socket(fileno=int(sys.argv[1]))
    # This is a child of `unshare`. If that is killed, so is this process, and then all of the sandbox.
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    try:
        _, (descriptor,), _, _ = socket.recv_fds(control, 64, 1)
        layout = read_json(descriptor)
        build_root(layout)
        limit(layout)
        give_up_privileges()
        filter_calls(keep_processors=bool(layout["threads"]))
    except OSError as error:
        control.send(json.dumps({"failed": str(error)}).encode())
        raise SystemExit(1) from None
    control.send(json.dumps({"ready": os.getpid()}).encode())
    serve(control, layout)


def build_root(layout: dict[str, Any]) -> None:
    """Builds the root that a `sandbox.SandboxLayout` describes on a tmpfs, and makes it the root of this process.

    An image comes from a stranger: a symbolic link in it may point anywhere. So no path below the new root is used
    before the host's root is gone; what is needed of the host is taken along as detached mounts. Raises OSError.
    """
    mount(None, "/", None, MS_REC | MS_PRIVATE)
    # a task could otherwise make its own user namespace, in which it would have all capabilities again
    write("/proc/sys/user/max_user_namespaces", "0")
    limit_pids()
    stage = str(layout["mount_point"])
    mount("tmpfs", stage, "tmpfs", MS_NOSUID | MS_NODEV, f"size={layout['root_size']},mode=755")
    os.chdir(stage)
    for folder in ("lower", "upper", "work", "root", "proc", "dev"):
        os.mkdir(folder)
    mount("proc", "proc", "proc", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC)
    size = f",size={layout['memory'] // 2}" if layout["memory"] else ""
    build_dev("dev", size)
    trees = [(detached("proc"), "/proc"), (detached("dev"), "/dev")]
    trees += [(detached(source, read_only=True), path) for source, path in layout["read_only"]]
    trees += [(detached(source), path) for source, path in layout["volumes"]]
    if layout["image"]:
        mount(layout["image"], "lower", None, MS_BIND | MS_REC)
        options = "lowerdir=lower,upperdir=upper,workdir=work,userxattr"
        mount("overlay", "root", "overlay", MS_NOSUID | MS_NODEV, options)
    else:
        mount("root", "root", None, MS_BIND)
    os.chdir("root")
    pivot_root(".", ".")  # the old root now lies over the new one
    call(libc.umount2, b".", MNT_DETACH)
    os.chdir("/")
    if layout["image"]:
        for folder in ("/proc", "/sys", "/etc"):
            if os.path.islink(folder) or not os.path.isdir(folder):
                raise OSError(errno.ENOENT, f"the image has no folder {folder}")
    for folder in layout["folders"]:
        os.makedirs(folder, exist_ok=True)
    for path, target in layout["links"]:
        os.symlink(target, path)
    for path, text, mode in layout["files"]:
        write_new(path, text, mode)
    mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "mode=777" + size)
    for tree, path in trees:  # after /tmp, because some lie in it, such as a checkout
        attach(tree, path)
    socket.sethostname("golem")
    loopback_up()


def limit_pids() -> None:
    """Limits the process and thread ids of this pid namespace, and so their number, where Linux can.

    This holds for everybody. RLIMIT_NPROC does not hold for the host's root.
    """
    major, minor = os.uname().release.split(".")[:2]
    if (int(major), int("".join(filter(str.isdigit, minor)))) >= PIDS_OF_NAMESPACE:
        write("/proc/sys/kernel/pid_max", str(KERNEL_MAX_TASKS))


def build_dev(dev: str, size: str) -> None:
    """Builds the folder /dev at `dev`. `size` is the mount option that limits /dev/shm; empty for no limit."""
    mount("tmpfs", dev, "tmpfs", MS_NOSUID, "mode=755,size=64k")
    for name in ("null", "zero", "full", "random", "urandom"):
        with open(f"{dev}/{name}", "w"):
            pass
        mount(f"/dev/{name}", f"{dev}/{name}", None, MS_BIND)
    os.symlink("/proc/self/fd", f"{dev}/fd")
    os.mkdir(f"{dev}/shm")
    mount("tmpfs", f"{dev}/shm", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=1777" + size)


def write(path: str, text: str) -> None:
    """Writes `text` to a file."""
    with open(path, "w") as file:
        file.write(text)


def write_new(path: str, text: str, mode: int) -> None:
    """Writes a file with this mode; creates its folder, and replaces a symbolic link instead of following it."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if os.path.islink(path):
        os.unlink(path)
    write(path, text)
    os.chmod(path, mode)


def detached(source: str, *, read_only: bool = False) -> int:
    """Returns a descriptor of a copy of the mounts at `source`, which is not mounted anywhere yet.

    All that is mounted below `source` comes along, because a namespace may not take it apart. Raises OSError.
    """
    flags = OPEN_TREE_CLONE | os.O_CLOEXEC | AT_RECURSIVE
    tree: int = libc.syscall(SYS_OPEN_TREE, AT_FDCWD, source.encode(), flags)
    if tree < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"taking {source} along: {os.strerror(number)}")
    if read_only:
        attributes = struct.pack("QQQQ", MOUNT_ATTR_RDONLY, 0, 0, 0)
        arguments = (tree, b"", AT_EMPTY_PATH | AT_RECURSIVE, attributes, len(attributes))
        call(libc.syscall, SYS_MOUNT_SETATTR, *arguments, what=f"making {source} read-only (Linux 5.12 or newer)")
    return tree


def attach(tree: int, path: str) -> None:
    """Mounts what `detached` returned on `path`; creates `path` if it is missing. Raises OSError."""
    if os.path.realpath(path) != path:
        raise OSError(errno.ELOOP, f"{path} cannot be mounted: it runs through a symbolic link")
    if stat.S_ISDIR(os.fstat(tree).st_mode):
        os.makedirs(path, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "a"):
            pass
    arguments = (tree, b"", AT_FDCWD, path.encode(), MOVE_MOUNT_F_EMPTY_PATH)
    call(libc.syscall, SYS_MOVE_MOUNT, *arguments, what=f"mounting {path}")
    os.close(tree)


def pivot_root(new: str, old: str) -> None:
    """Makes `new` the root of this process, and puts the old root at `old`. Raises OSError."""
    number = SYS_PIVOT_ROOT.get(os.uname().machine)
    if number is None:
        raise OSError(errno.ENOSYS, f"pivot_root on {os.uname().machine} is not known to the sandbox")
    call(libc.syscall, number, new.encode(), old.encode(), what="pivot_root")


def loopback_up() -> None:
    """Switches the loopback interface on."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as interface:
        up = struct.pack("16sH14x", b"lo", 0x1 | 0x40)  # IFF_UP | IFF_RUNNING
        fcntl.ioctl(interface, 0x8914, up)  # SIOCSIFFLAGS


def limit(layout: dict[str, Any]) -> None:
    """Limits the processors of the whole sandbox, and memory, files and core dumps of each process.

    `relieve` and `end_excess` limit what all processes have together.
    """
    if layout["threads"]:
        allowed = sorted(os.sched_getaffinity(0))
        # so that the sandboxes of a machine spread over its processors
        first = layout["first_thread"] % len(allowed)
        os.sched_setaffinity(0, (allowed[first:] + allowed[:first])[: layout["threads"]])
    if layout["memory"]:
        # Memory that is reserved but not used costs nothing. This limits what one process can take between two checks.
        resource.setrlimit(resource.RLIMIT_DATA, (2 * layout["memory"], 2 * layout["memory"]))
    if layout["volume_size"]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (layout["volume_size"], layout["volume_size"]))
    # Linux does not apply this limit to the host's root (kernel/fork.c, copy_process); see `limit_pids`.
    resource.setrlimit(resource.RLIMIT_NPROC, (KERNEL_MAX_TASKS, KERNEL_MAX_TASKS))
    resource.setrlimit(resource.RLIMIT_NOFILE, FILES)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def give_up_privileges() -> None:
    """Drops every capability, for this process and for all that it starts.

    After that, no process in the sandbox may look into this one.
    """
    call(libc.prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    for capability in range(LAST_CAPABILITY):
        if libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0:
            break  # past the last capability that this kernel has
    header, none = struct.pack("Ii", 0x20080522, 0), bytes(24)
    call(libc.capset, header, none, what="dropping capabilities")
    call(libc.prctl, PR_SET_DUMPABLE, 0, 0, 0, 0)
    if number := SYS_KEYCTL.get(os.uname().machine):
        libc.syscall(
            number, KEYCTL_JOIN_SESSION_KEYRING, None
        )  # otherwise the sandbox inherits the host's keyring with its keys


def filter_calls(*, keep_processors: bool) -> None:
    """Denies system calls to this process and all that it starts: sockets that lead out, and `SYS_DENIED`.

    Args:
        keep_processors: True makes `sched_setaffinity` do nothing, because a VM has no further processors to move to.
    """
    machine = os.uname().machine
    if machine not in AUDIT_ARCH:
        return
    load, equal, at_least, end = 0x20, 0x15, 0x35, 0x06
    allow = (end, 0, 0, 0x7FFF0000)  # SECCOMP_RET_ALLOW

    def refuse(number: int) -> tuple[int, int, int, int]:
        return (end, 0, 0, 0x00050000 | number)  # SECCOMP_RET_ERRNO

    instructions = [
        (load, 0, 0, 4),  # seccomp_data.arch
        (equal, 1, 0, AUDIT_ARCH[machine]),
        refuse(errno.ENOSYS),  # calls of another architecture have other numbers
        (load, 0, 0, 0),  # seccomp_data.nr
        (at_least, 0, 1, X32_NUMBERS),
        refuse(errno.ENOSYS),
    ]
    for number in SYS_DENIED[machine]:
        instructions += [(equal, 0, 1, number), refuse(errno.ENOSYS)]
    if keep_processors:
        instructions += [(equal, 0, 1, SYS_SCHED_SETAFFINITY[machine]), refuse(0)]  # reports success
    families = [(equal, 0, 1, family) for family in SOCKET_FAMILIES]
    checks = [one for family in families for one in (family, allow)]
    instructions += [(equal, 0, 2 + len(checks), SYS_SOCKET[machine]), (load, 0, 0, 16), *checks]  # the first argument
    instructions += [refuse(errno.EAFNOSUPPORT), allow]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *instruction) for instruction in instructions))
    program = struct.pack("HP", len(instructions), ctypes.addressof(code))
    call(libc.prctl, PR_SET_SECCOMP, 2, program, 0, 0, what="denying system calls (seccomp)")


def serve(control: socket.socket, layout: dict[str, Any]) -> None:
    """Starts programs and reports their ends until the agent closes the socket; reaps orphaned processes."""
    volumes = [path for _, path in layout["volumes"]]
    looks = 0
    wake_read, wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_write)
    programs: dict[int, int] = {}
    while True:
        ready, _, _ = select.select([control.fileno(), wake_read], [], [], LOOK_SECONDS if programs else IDLE_SECONDS)
        looks += 1
        if end_excess(volumes if looks % VOLUME_LOOKS == 0 else [], layout["volume_size"]):
            os.kill(-1, signal.SIGKILL)  # reaches all processes but this one
        elif layout["memory"]:
            relieve(layout["memory"])
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


def end_excess(volumes: list[str], volume_size: int) -> bool:
    """Returns True if there are too many processes and threads, or if the volumes hold too much.

    A VM would be stuck then. Here, the host would be.

    Args:
        volumes: paths of the volumes to look at.
        volume_size: bytes that they may hold together; 0 is no limit.
    """
    tasks = 0
    for name in os.listdir("/proc"):
        if name.isdigit() and tasks <= MAX_TASKS:
            with contextlib.suppress(OSError):  # the process has ended meanwhile
                tasks += os.stat(f"/proc/{name}/task").st_nlink - 2
    if tasks > MAX_TASKS:
        return True
    held, files = 0, 0
    pending = list(volumes) if volume_size else []
    while pending:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    files += 1
                    held += entry.stat(follow_symlinks=False).st_blocks * 512
                    if held > volume_size or files > MAX_FILES:
                        return True
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
        except FileNotFoundError:
            continue
        except OSError:
            return True  # something is hidden in a folder that cannot be read
    # Files that are open and deleted are in no folder.
    free = [os.statvfs(path) for path in volumes] if volume_size else []
    return any(disk.f_bavail * disk.f_frsize < LEAST_FREE for disk in free)


def relieve(memory: int) -> None:
    """Kills the process that holds most memory if all together use more than `memory` bytes.

    The kernel of the VM does the same.
    """
    held, shared = {}, 0
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            try:
                with open(f"/proc/{name}/status", "rb") as file:
                    fields = dict(line.split(b":", 1) for line in file if line.startswith((b"RssAnon", b"RssShmem")))
            except OSError:
                continue  # the process has ended meanwhile
            if fields:  # a zombie has none
                held[int(name)] = kilobytes(fields[b"RssAnon"])
                shared = max(shared, kilobytes(fields[b"RssShmem"]))
    # Several processes may have mapped the same shared memory, which may be a file: it counts once.
    if held and sum(held.values()) + max(shared, files_in_memory()) > memory:
        os.kill(max(held, key=held.__getitem__), signal.SIGKILL)


def kilobytes(field: bytes) -> int:
    """Returns the number of bytes that a value of /proc/PID/status such as `  1234 kB` stands for."""
    return int(field.split()[0]) * 1024


def files_in_memory() -> int:
    """Returns the number of bytes that have been written to the tmpfs folders."""
    sizes = map(os.statvfs, ("/tmp", "/dev/shm"))
    return sum((size.f_blocks - size.f_bfree) * size.f_frsize for size in sizes)


def send(control: socket.socket, message: dict[str, int | None]) -> None:
    """Sends a message to the agent."""
    control.send(json.dumps(message).encode())


def start(stdout: int, stderr: int, program: int) -> tuple[int, int | None]:
    """Forks, and executes a program in the child; the arguments are descriptors.

    Returns (0, pid), or (errno, None) if the program could not be executed.
    """
    spec = read_json(program)
    failed_read, failed_write = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            os.nice(TASK_NICENESS)  # not this process, which must get its turn among any number of tasks
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
    """Reads a JSON object from the beginning of an open file, and closes it."""
    with os.fdopen(descriptor) as file:
        file.seek(0)
        value: dict[str, Any] = json.load(file)
        return value


def mount(source: str | None, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    """Calls mount(2). Raises OSError."""
    encoded = [value.encode() if value is not None else None for value in (source, target, kind)]
    data = options.encode() if options is not None else None
    call(libc.mount, *encoded, ctypes.c_ulong(flags), data, what=f"mounting {source or kind} on {target}")


def call(function: Callable[..., int], *arguments: object, what: str = "a system call") -> None:
    """Calls a function of libc. Raises OSError, which names `what` was done, if the result is not 0."""
    if function(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


if __name__ == "__main__":
    main()
