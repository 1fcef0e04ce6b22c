"""Finds a virtual machine's kernel with its modules, and a busybox: from Debian's packages, or on this machine."""

from __future__ import annotations

import lzma
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from nima.safe_io import cache_folder
from requestor.errors import DevnetError

DRIVERS = ("virtio_pci", "virtio_blk", "virtio_rng", "squashfs", "overlay", "9pnet_virtio", "9p")
"""The modules that a machine needs, unless they are built into its kernel; those they depend on come before them."""

KERNEL_PACKAGE = "linux-image-amd64"
BUSYBOX_PACKAGE = "busybox-static"
_DEPENDENCIES = re.compile(rb"\0depends=([^\0]*)\0")
_VERSION_POINTER = 0x20E  # of a bzImage: where its version is, from 0x200 on (Documentation/arch/x86/boot.rst)


@dataclass(frozen=True)
class GuestKernel:
    """Names a kernel, and holds what its initramfs needs.

    image: the kernel's file, a bzImage.
    version: its version, as `uname -r` prints it.
    modules: the contents of its modules, in the order in which they must be loaded.
    busybox: a static busybox.
    """

    image: Path
    version: str
    modules: tuple[bytes, ...]
    busybox: Path


def read_kernel(image: Path) -> GuestKernel:
    """Reads a kernel of this machine, with the modules of its version below `lib/modules` beside its folder, or `/`.

    Drivers that have no module there are taken to be built in. The busybox is this machine's own or Debian's. Raises
    DevnetError if the file is no kernel, or if there is no static busybox.
    """
    version = _version_of(image)
    places = [top / "lib" / "modules" / version for top in (image.resolve().parent.parent, Path("/"))]
    folder = next((place for place in places if place.is_dir()), None)
    return GuestKernel(image, version, _modules(folder) if folder else (), _static_busybox())


def debian_kernel() -> GuestKernel:
    """Returns the kernel of Debian's package `linux-image-amd64`, which is downloaded and unpacked, not installed.

    It is kept in the cache. Raises DevnetError if the packages cannot be had.
    """
    home = cache_folder() / "kernel"
    if not (kernels := sorted((home / "boot").glob("vmlinuz-*"))):
        _keep_packages(home, _kernel_packages())
        kernels = sorted((home / "boot").glob("vmlinuz-*"))
    if not kernels:
        raise DevnetError(f"Debian's package {KERNEL_PACKAGE} holds no kernel. Name one with --kernel FILE.")
    return read_kernel(kernels[-1])


def _version_of(image: Path) -> str:
    try:
        with image.open("rb") as file:
            head = file.read(0x10000)
    except OSError as error:
        raise DevnetError(f"The kernel {image} could not be read: {error.strerror or error}.") from error
    if head[0x202:0x206] != b"HdrS":
        raise DevnetError(f"{image} is no kernel for x86 (a bzImage). Name another file with --kernel.")
    start = int.from_bytes(head[_VERSION_POINTER : _VERSION_POINTER + 2], "little") + 0x200
    text = head[start : head.find(b"\0", start)].decode(errors="replace").split()
    if not text or not re.fullmatch(r"[\w.+~-]+", text[0]):
        raise DevnetError(f"{image} does not tell its version. Name another kernel with --kernel.")
    return text[0]


def _modules(folder: Path) -> tuple[bytes, ...]:
    """Returns the modules `DRIVERS`, each after those that it depends on. What has no file is taken to be built in."""
    paths = {_module_name(path): path for path in folder.rglob("*.ko*")}
    ordered: dict[str, bytes] = {}

    def add(name: str) -> None:
        if name in ordered or name not in paths:
            return
        content = _uncompressed(paths[name])
        found = _DEPENDENCIES.search(content)
        for needed in filter(None, found[1].decode().split(",") if found else ()):
            add(needed.replace("-", "_"))
        ordered[name] = content

    for driver in DRIVERS:
        add(driver)
    return tuple(ordered.values())


def _module_name(path: Path) -> str:
    return path.name.partition(".ko")[0].replace("-", "_")


def _uncompressed(path: Path) -> bytes:
    content = path.read_bytes()
    if path.suffix == ".xz":
        return lzma.decompress(content)
    if path.suffix == ".gz":
        import gzip

        return gzip.decompress(content)
    if path.suffix == ".zst":
        return _output("zstd", "--decompress", "--stdout", str(path))
    return content


def _static_busybox() -> Path:
    found = shutil.which("busybox")
    if found and _is_static(Path(found)):
        return Path(found)
    home = cache_folder() / "kernel"
    kept = [home / "bin" / "busybox", home / "usr" / "bin" / "busybox"]  # Debian 13 has it in /usr
    if not any(path.exists() for path in kept):
        _keep_packages(home, (BUSYBOX_PACKAGE,))
    for path in kept:
        if path.exists() and _is_static(path):
            return path
    raise DevnetError(f"A virtual machine needs a static busybox: apt-get install {BUSYBOX_PACKAGE}.")


def _is_static(program: Path) -> bool:
    """Tells if an ELF program needs no dynamic loader: none of its program headers is PT_INTERP (3)."""
    with program.open("rb") as file:
        head = file.read(0x1000)
    start, size, number = (
        int.from_bytes(head[at : at + length], "little") for at, length in ((32, 8), (54, 2), (56, 2))
    )
    types = {int.from_bytes(head[start + size * index :][:4], "little") for index in range(number)}
    return head[:4] == b"\x7fELF" and 3 not in types


def _kernel_packages() -> tuple[str, ...]:
    """Returns the packages of the newest kernel that Debian's archive has, and of busybox."""
    listed = _output("apt-cache", "depends", "--important", KERNEL_PACKAGE).decode()
    named = re.findall(r"Depends: (linux-image-\S+)", listed)
    if not named:
        raise DevnetError(
            f"apt knows no package {KERNEL_PACKAGE}: run apt-get update, or name a kernel with --kernel FILE."
        )
    return named[0], BUSYBOX_PACKAGE


def _keep_packages(home: Path, packages: tuple[str, ...]) -> None:
    """Downloads Debian packages, and unpacks what a machine needs of them into the folder `home`."""
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home.parent) as scratch:
        downloaded, unpacked = Path(scratch, "packages"), Path(scratch, "unpacked")
        downloaded.mkdir()
        _output("apt-get", "download", *packages, folder=downloaded)
        for package in downloaded.glob("*.deb"):
            _output("dpkg-deb", "--extract", str(package), str(unpacked))
        for part in (
            "bin",
            "usr/bin",
            "lib/modules",
            "usr/lib/modules",
            "boot",
        ):  # the kernel last, as the sign that all is there
            if (unpacked / part).is_dir():
                target = home / part.removeprefix("usr/") if "modules" in part else home / part
                shutil.copytree(unpacked / part, target, dirs_exist_ok=True, symlinks=True)


def _output(program: str, *arguments: str, folder: Path | None = None) -> bytes:
    if shutil.which(program) is None:
        raise DevnetError(
            f"The kernel of a virtual machine comes from Debian's packages, and this machine has no {program}. Name a "
            "kernel with --kernel FILE."
        )
    done = subprocess.run(
        [program, *arguments], cwd=folder, capture_output=True, check=False, env=os.environ | {"LC_ALL": "C"}
    )
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["no reason given"]
        raise DevnetError(
            f"The kernel of a virtual machine could not be had, as {program} failed: {said[0][:300]}. Name a kernel "
            "with --kernel FILE."
        )
    return done.stdout
