"""Keeps the images in which a devnet's providers run tasks: downloads, checks and unpacks each image once for all.

Linux lets only the root user mount a squashfs. So an image is unpacked, by Debian's `unsquashfs`, and stays read-only
below the writable layer of each sandbox. Everything in it belongs to the user who runs the devnet, who is root inside
the sandbox.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from requestor.errors import DevnetError, ImageError
from requestor.image import ImageInfo, read_image

Download = Callable[[str, Path], Awaitable[Path]]
"""Brings the image of a task package into a folder, unless it is there, and returns its file; checks its hash."""

_WAIT_SECONDS = 0.1


@dataclass(frozen=True)
class UnpackedImage:
    """Names an image, and the host's folder that holds its files."""

    info: ImageInfo
    root: Path


class ImageCache:
    """Keeps images in a folder that providers share, each in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def fetch(self, package: str, download: Download) -> UnpackedImage:
        """Returns the image of the task package `hash:sha3:<hex>:<url>`; the first caller downloads and unpacks it.

        Raises ImageError if the file is no image, DevnetError if this machine has no `unsquashfs`, and what `download`
        raises.
        """
        async with self._locked():
            return await self._unpacked(await download(package, self._folder))

    async def unpack(self, file: Path) -> UnpackedImage:
        """Unpacks the image in `file`, unless it is unpacked already, and returns it.

        Raises ImageError if the file is no image, DevnetError if this machine has no `unsquashfs`.
        """
        async with self._locked():
            return await self._unpacked(file)

    async def _unpacked(self, file: Path) -> UnpackedImage:
        info = await asyncio.to_thread(read_image, file)
        root = self._folder / info.sha3_224
        if not root.exists():
            with tempfile.TemporaryDirectory(dir=self._folder, ignore_cleanup_errors=True) as scratch:
                unpacked = Path(scratch) / "root"
                await _unsquash(file, unpacked)
                await asyncio.to_thread(_open_to_owner, unpacked)
                os.rename(unpacked, root)
        return UnpackedImage(info, root)

    @contextlib.asynccontextmanager
    async def _locked(self) -> AsyncIterator[None]:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (self._folder / "lock").open("w") as lock:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    await asyncio.sleep(_WAIT_SECONDS)
            yield


async def _unsquash(file: Path, root: Path) -> None:
    unsquashfs, unshare = shutil.which("unsquashfs"), shutil.which("unshare")
    if unsquashfs is None or unshare is None:
        missing, package = ("unshare", "util-linux") if unsquashfs else ("unsquashfs", "squashfs-tools")
        raise DevnetError(f"The devnet unpacks images with `{missing}`, which is missing: install {package}.")
    # In a user namespace of its own, unsquashfs runs as the user nobody. So it creates no device, no file of another
    # owner and no setuid program.
    process = await asyncio.create_subprocess_exec(
        *(unshare, "--user", "--", unsquashfs, "-no-progress", "-no-xattrs", "-dest", str(root), str(file)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        _, stderr = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    # unsquashfs goes on after some errors; only one of these is expected: that it may not create a device
    problems = [line for line in stderr.decode(errors="replace").splitlines() if line and "superuser" not in line]
    if problems or process.returncode not in (0, 2) or not root.is_dir():
        why = problems[-1][:300] if problems else f"exit code {process.returncode}"
        raise ImageError(f"{file} could not be unpacked: {why}.")


def _open_to_owner(root: Path) -> None:
    """Gives the owner the right to read and write every file, and to enter every folder.

    In a VM, root may read and write everything; in a sandbox, where root has no capabilities, it may do only what the
    modes allow the owner.
    """
    for folder, folders, files in os.walk(root):
        for name, wanted in [(".", 0o700), *((name, 0o700) for name in folders), *((name, 0o600) for name in files)]:
            path = os.path.join(folder, name)
            mode = os.lstat(path).st_mode
            if (stat.S_ISREG(mode) or stat.S_ISDIR(mode)) and mode & wanted != wanted:
                os.chmod(path, stat.S_IMODE(mode) | wanted)
