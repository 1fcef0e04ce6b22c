"""Transfers an exe-unit's files between gftp, http(s) and the activity's volumes.

Follows yagna's `exe-unit/components/transfer`, the unexpected rules included: a download ignores the HTTP status, and a
download into a file that exists continues at its end.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
import shutil
import uuid
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote, urlsplit

import aiohttp

from requestor.errors import RequestorError
from requestor.golem import retry_until_success
from requestor.golem.bus import ServiceBus, ServiceBusError, ServiceBusFault
from requestor.golem.gftp import download_over_gftp, upload_over_gftp
from requestor.vm import TransferFailed, Volumes

_CHUNK = 1 << 20
_HTTP_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=60)

OnMessage = Callable[[str], None]
_Result = TypeVar("_Result")


class _TryAgain(TransferFailed):
    """Says that a connection failed or timed out, so that the transfer is tried again."""


@dataclass(frozen=True)
class Location:
    """Describes one side of a transfer. `digest`: the expected SHA3 hash of the source; None if the URL names none."""

    scheme: str
    url: str
    digest: bytes | None = None

    @classmethod
    def parse(cls, text: str) -> Location:
        """Reads `[hash:sha3:<hex>:]<url>`; a URL without a scheme is a path in the container.

        Raises TransferFailed if the text is empty, or if its hash is not a SHA3 hash.
        """
        text = text.strip()
        if not text:
            raise TransferFailed("Invalid url: Empty URL")
        digest = None
        match = re.search(r"hash:(?://)?([^:]+):(?:0x)?([a-f0-9]+):(.+)", text, re.IGNORECASE)
        if match:
            algorithm, digits, text = match.groups()
            if len(digits) % 2:
                raise TransferFailed("Hex error: Odd number of digits")
            digest = bytes.fromhex(digits)
            if algorithm != "sha3":
                raise TransferFailed(f"Unsupported digest: Unsupported digest: {algorithm}")
            if len(digest) * 8 not in (224, 256, 384, 512):
                message = f"Unsupported digest {algorithm} of length {len(digest)}: {digest.hex()}"
                raise TransferFailed(f"Unsupported digest: {message}")
        elif text.startswith("hash:"):
            raise TransferFailed(f"Invalid url: {text}")
        scheme = re.match(r"([a-zA-Z][a-zA-Z0-9+.-]*):", text)
        return cls(scheme[1].lower() if scheme else "container", text, digest)

    @property
    def path(self) -> str:
        """Returns the path of a `container:` location, percent-decoded."""
        return unquote(self.url.removeprefix("container:").removeprefix("//").split("?")[0].split("#")[0])


class Transfers:
    """Carries out the transfers of one activity. `scratch`: a folder on the file system of the volumes."""

    def __init__(
        self, bus: ServiceBus, scratch: Path, volumes: Volumes, *, retry_pauses: tuple[float, ...] = (2.0, 4.0)
    ) -> None:
        """Sets the pauses in seconds before a transfer is tried again; there are as many further attempts as pauses."""
        self._bus, self._scratch, self.volumes = bus, scratch, volumes
        self._retry_pauses = retry_pauses

    async def transfer(self, source: str, destination: str, on_message: OnMessage = lambda _: None) -> int:
        """Copies `source` to `destination`; returns the number of bytes that were moved.

        After a connection fault or a time-out, calls `on_message` and tries again. Raises TransferFailed.
        """
        from_, to = Location.parse(source), Location.parse(destination)
        for location in (from_, to):
            if location.scheme not in ("gftp", "http", "https", "container"):
                raise TransferFailed(f"Unsupported scheme: {location.scheme}")
        return await self._with_retries(lambda: self._copy(from_, to), on_message)

    async def image(self, package: str, cache: Path, on_message: OnMessage = lambda _: None) -> Path:
        """Returns the task package `hash:sha3:<hex>:<url>` as a file in `cache`; downloads it if it is not there yet.

        Raises TransferFailed if the package names no hash, if the file has another hash, or if the URL cannot be
        reached.
        """
        location = Location.parse(package)
        if location.digest is None:
            raise TransferFailed("Invalid url: Missing hash")
        name = Path(unquote(urlsplit(location.url).path)).name
        if not name:
            raise TransferFailed(f"Invalid url: {location.url}")
        stem, suffix = Path(name).stem, Path(name).suffix
        final = cache / f"{stem}_{location.digest.hex()}{suffix}"
        if final.exists():
            on_message("Deployed image from cache")
            return final
        cache.mkdir(parents=True, exist_ok=True)

        async def fetch() -> None:
            with self._scratch_file() as file:
                await self._fetch(location, file)
                await asyncio.to_thread(_check, file, location.digest)
                shutil.move(file, final)

        await self._with_retries(fetch, on_message)
        return final

    async def _with_retries(self, attempt: Callable[[], Awaitable[_Result]], on_message: OnMessage) -> _Result:
        def say(failure: _TryAgain, pause: float) -> None:
            on_message(f"Retry in {pause:g}s because of error: {failure}")

        return await retry_until_success(attempt, _TryAgain, self._retry_pauses, say)

    async def _copy(self, source: Location, destination: Location) -> int:
        if destination.scheme == "container":
            self.volumes.resolve(destination.path)  # raises an error before anything is moved
        with self._scratch_file() as file:
            if not await self._fetch(source, file, destination):
                return 0
            await asyncio.to_thread(_check, file, source.digest)
            size = file.stat().st_size
            await self._put(file, destination)
            return size

    async def _fetch(self, source: Location, file: Path, destination: Location | None = None) -> bool:
        """Copies `source` to `file`; returns False if the destination holds all of it already."""
        if source.scheme == "gftp":
            await self._gftp(download_over_gftp(self._bus, source.url, file))
        elif source.scheme == "container":
            with self.volumes.open(source.path) as descriptor:
                await asyncio.to_thread(_copy_descriptor, descriptor, file)
        else:
            resumable = destination is not None and destination.scheme == "container" and source.digest is None
            return await self._download(source.url, file, destination.path if destination and resumable else None)
        return True

    async def _put(self, file: Path, destination: Location) -> None:
        if destination.scheme == "container":
            self.volumes.place(file, destination.path)
        elif destination.scheme == "gftp":
            await self._gftp(upload_over_gftp(self._bus, file, destination.url))
        else:
            await self._upload(file, destination.url)

    async def _gftp(self, transfer: Awaitable[object]) -> None:
        try:
            await transfer
        except RequestorError as error:
            cause = error.__cause__
            if isinstance(cause, ServiceBusError) and not isinstance(cause, ServiceBusFault):
                raise _TryAgain(f"GSB error: {error}") from error
            raise TransferFailed(f"gftp error: {error}") from error

    async def _download(self, url: str, file: Path, existing: str | None) -> bool:
        """Downloads `url`. If the volumes hold a file at `existing`, only the part past its end is fetched."""
        offset = self.volumes.size(existing) if existing else 0
        with _http_errors():
            async with aiohttp.ClientSession(timeout=_HTTP_TIMEOUT, auto_decompress=False) as session:
                async with session.head(url, allow_redirects=True) as head:
                    size = int(head.headers.get("Content-Length", -1))
                    if head.headers.get("Accept-Ranges") != "bytes":
                        offset = 0
                if offset and offset >= size >= 0:
                    return False
                headers = {"Range": f"bytes={offset}-"} if offset else {}
                async with session.get(url, headers=headers) as response:
                    with file.open("wb") as target:
                        if offset and existing:
                            with self.volumes.open(existing) as old, os.fdopen(os.dup(old), "rb") as start:
                                shutil.copyfileobj(start, target)
                        async for chunk in response.content.iter_chunked(_CHUNK):
                            target.write(chunk)
        return True

    async def _upload(self, file: Path, url: str) -> None:
        with _http_errors(), file.open("rb") as source:
            async with (
                aiohttp.ClientSession(timeout=_HTTP_TIMEOUT) as session,
                session.put(url, data=source) as response,
            ):
                if response.status >= 500:
                    raise _TryAgain(f"HTTP error: server error: {response.status} {response.reason}")
                if response.status >= 400:
                    raise TransferFailed(f"HTTP error: client error: {response.status} {response.reason}")

    @contextlib.contextmanager
    def _scratch_file(self) -> Iterator[Path]:
        self._scratch.mkdir(parents=True, exist_ok=True)
        file = self._scratch / uuid.uuid4().hex
        try:
            file.touch()
            yield file
        finally:
            file.unlink(missing_ok=True)


def _check(file: Path, digest: bytes | None) -> None:
    """Raises TransferFailed if the file's SHA3 hash is not `digest`; does nothing if `digest` is None."""
    if digest is None:
        return
    hasher = hashlib.new(f"sha3_{len(digest) * 8}")
    with file.open("rb") as source:
        while chunk := source.read(_CHUNK):
            hasher.update(chunk)
    if hasher.digest() != digest:
        raise TransferFailed(
            "Incorrect hash provided or downloaded image is corrupted: "
            f"calculated hash {hasher.hexdigest()} differs from the expected one {digest.hex()}"
        )


def _copy_descriptor(descriptor: int, file: Path) -> None:
    """Copies a file. Its holes stay holes, so that the copy of a sparse file takes no more room."""
    size, end = os.fstat(descriptor).st_size, 0
    with file.open("wb", buffering=0) as target:
        while end < size:
            try:
                start = os.lseek(descriptor, end, os.SEEK_DATA)
            except OSError:  # ENXIO: the rest is a hole
                break
            end = min(os.lseek(descriptor, start, os.SEEK_HOLE), size)
            for offset in range(start, end, _CHUNK):
                content = os.pread(descriptor, min(_CHUNK, end - offset), offset)
                os.pwrite(target.fileno(), content, offset)
        target.truncate(size)


@contextlib.contextmanager
def _http_errors() -> Iterator[None]:
    try:
        yield
    except aiohttp.InvalidURL as error:
        raise TransferFailed(f"Invalid url: {error}") from error
    except asyncio.TimeoutError as error:
        raise _TryAgain("HTTP error: timeout: operation timed out") from error
    except (aiohttp.ClientError, ConnectionError) as error:
        raise _TryAgain(f"HTTP error: connection error: {error}") from error
