"""Writes the initramfs of a virtual machine: busybox, the kernel's modules, and the script that is process 1."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from requestor.vm.machine.kernel import GuestKernel

_INIT = Path(__file__).with_name("guest_init.sh")
_FOLDERS = ("bin", "control", "dev", "image", "modules", "overlay", "proc", "root", "sys")


def write_initramfs(kernel: GuestKernel, path: Path) -> None:
    """Writes the initramfs for `kernel` to `path`, an uncompressed cpio archive."""
    names = [f"{number:02}.ko" for number in range(len(kernel.modules))]
    files = {
        "init": (_INIT.read_bytes(), 0o755),
        "bin/busybox": (kernel.busybox.read_bytes(), 0o755),
        "modules/order": ("".join(f"{name}\n" for name in names).encode(), 0o644),
        **{f"modules/{name}": (module, 0o644) for name, module in zip(names, kernel.modules, strict=True)},
    }
    path.write_bytes(b"".join(_archive(files)))


def _archive(files: Mapping[str, tuple[bytes, int]]) -> Iterator[bytes]:
    """Yields a cpio archive in the format that Linux reads (newc; Documentation/driver-api/early-userspace)."""
    inode = 0
    for folder in _FOLDERS:
        inode += 1
        yield _entry(folder, b"", stat.S_IFDIR | 0o755, inode)
    for name, (content, mode) in files.items():
        inode += 1
        yield _entry(name, content, stat.S_IFREG | mode, inode)
    yield _entry("TRAILER!!!", b"", 0, 0)


def _entry(name: str, content: bytes, mode: int, inode: int) -> bytes:
    encoded = name.encode() + b"\0"
    fields = (inode, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(encoded), 0)
    header = b"070701" + b"".join(f"{value:08x}".encode() for value in fields) + encoded
    return _padded(header) + _padded(content)


def _padded(part: bytes) -> bytes:
    return part + bytes(-len(part) % 4)
