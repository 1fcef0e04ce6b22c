"""Kernels of virtual machines: their versions and modules, and what is refused."""

from __future__ import annotations

import gzip
import lzma
import shutil
from pathlib import Path

import pytest

from requestor.errors import DevnetError
from requestor.vm.machine import kernel as kernels
from requestor.vm.machine.initramfs import write_initramfs
from requestor.vm.machine.kernel import GuestKernel, debian_kernel, read_kernel

VERSION = "6.1.0-56-amd64"


def make_kernel(folder: Path, version: str = VERSION) -> Path:
    """Writes the head of a bzImage, as far as it is read."""
    head = bytearray(0x1000)
    head[0x202:0x206] = b"HdrS"
    head[0x20E:0x210] = (0x800).to_bytes(2, "little")
    head[0xA00 : 0xA00 + len(version) + 6] = f"{version} (who)".encode()
    path = folder / "boot" / "vmlinuz"
    path.parent.mkdir(parents=True)
    path.write_bytes(head)
    return path


def module(name: str, *needed: str) -> bytes:
    return f"\x7fELF\0name={name}\0depends={','.join(needed)}\0".encode()


@pytest.fixture(autouse=True)
def busybox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "busybox"
    path.write_bytes(b"a shell")
    monkeypatch.setattr(kernels, "_static_busybox", lambda: path)
    return path


def test_modules_come_after_those_that_they_need(tmp_path: Path) -> None:
    image = make_kernel(tmp_path)
    folder = tmp_path / "lib" / "modules" / VERSION / "kernel"
    folder.mkdir(parents=True)
    contents = {
        "virtio_blk.ko": module("virtio_blk", "virtio"),
        "virtio.ko.xz": module("virtio"),
        "9pnet-virtio.ko.gz": module("9pnet_virtio", "virtio", "9pnet"),
        "9pnet.ko": module("9pnet"),
        "unneeded.ko": module("unneeded"),
    }
    for name, content in contents.items():
        pack = {".xz": lzma.compress, ".gz": gzip.compress}.get(Path(name).suffix, bytes)
        (folder / name).write_bytes(pack(content))
    found = read_kernel(image)
    assert found.version == VERSION
    assert found.modules == tuple(
        contents[name] for name in ("virtio.ko.xz", "virtio_blk.ko", "9pnet.ko", "9pnet-virtio.ko.gz")
    )


def test_what_is_no_kernel_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no kernel")
    with pytest.raises(DevnetError, match="no kernel for x86"):
        read_kernel(tmp_path / "text")
    with pytest.raises(DevnetError, match="does not tell its version"):
        read_kernel(make_kernel(tmp_path, "../../etc"))


def test_without_debians_programs_the_way_out_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIMA_GOLEM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DevnetError, match=r"has no apt-cache.*--kernel FILE"):
        debian_kernel()


def test_a_program_with_a_loader_is_not_static() -> None:
    shell = shutil.which("sh")
    assert shell is not None
    assert not kernels._is_static(Path(shell).resolve())


def test_the_initramfs_holds_everything_that_is_named(tmp_path: Path, busybox: Path) -> None:
    write_initramfs(GuestKernel(tmp_path, VERSION, (b"first", b"second module"), busybox), tmp_path / "initramfs")
    entries = dict(read_archive((tmp_path / "initramfs").read_bytes()))
    assert {name: entries[name] for name in entries if name.startswith("modules/")} == {
        "modules/order": b"00.ko\n01.ko\n",
        "modules/00.ko": b"first",
        "modules/01.ko": b"second module",
    }
    assert entries["bin/busybox"] == b"a shell"
    assert entries["init"].startswith(b"#!/bin/busybox ash\n")


def read_archive(archive: bytes) -> list[tuple[str, bytes]]:
    """Reads a cpio archive of the format newc: name and content of each entry."""
    entries, at = [], 0
    while archive[at : at + 6] == b"070701":
        fields = [int(archive[at + 6 + 8 * index : at + 14 + 8 * index], 16) for index in range(13)]
        size, name_size = fields[6], fields[11]
        name = archive[at + 110 : at + 110 + name_size - 1].decode()
        start = (at + 110 + name_size + 3) // 4 * 4
        entries.append((name, archive[start : start + size]))
        at = (start + size + 3) // 4 * 4
    assert at == len(archive)
    assert entries[-1][0] == "TRAILER!!!"
    return entries
