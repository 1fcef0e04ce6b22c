"""Serves the requestor's end of Golem's file transfer: files that providers may read, and files that they send."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from collections import Counter
from collections.abc import Awaitable
from pathlib import Path
from types import TracebackType

from requestor.errors import TransferError
from requestor.golem.bus import ServiceBus, ServiceBusError, ServiceBusFault, packets
from requestor.golem.gftp.messages import (
    ADDITION,
    FILE_TOO_LARGE,
    MAX_CHUNK,
    MAX_FILE,
    MAX_READINGS,
    SHA3_DIGITS,
    PartialFile,
    chunk,
    limit_of,
    number,
    parse_url,
    sha3_256,
)


class _Published:
    """Serves a file that others may read."""

    def __init__(self, path: Path) -> None:
        self.file = path.open("rb", buffering=0)  # kept open, because another file may soon have this name
        self.size = os.fstat(self.file.fileno()).st_size
        self.served: Counter[str] = Counter()  # caller → bytes

    async def handle(self, caller: str, kind: str, message: object) -> object:
        if kind == "GetMetadata":
            return {"fileSize": self.size}
        if kind != "GetChunk":
            raise ServiceBusFault({"InternalError": f"a published file knows no {kind}"})
        try:
            offset, size = number(message, "offset"), number(message, "size")
            if offset > self.size:
                raise TransferError(f"there is nothing at {offset} of {self.size} bytes")
            length = min(size, MAX_CHUNK, self.size - offset)
            if self.served[caller] + length > MAX_READINGS * self.size:
                raise TransferError(f"the file was sent {MAX_READINGS} times")
        except TransferError as error:
            raise ServiceBusFault({"ReadError": str(error)}) from error
        self.served[caller] += length
        return lambda: self.read(offset, length)  # is called when the connection takes the answer

    def read(self, offset: int, length: int) -> object:
        try:
            return {"offset": offset, "content": os.pread(self.file.fileno(), length, offset)}
        except (OSError, ValueError) as error:  # ValueError: the file was closed meanwhile
            raise ServiceBusFault({"ReadError": str(error)}) from error

    def close(self) -> None:
        self.file.close()


class _Expected:
    """Takes in a file that a provider sends. It appears under its name when it is complete and has the sender's hash.

    The sender may begin again, for example if it missed a reply. A complete file does not change any more. Who expects
    the file may take that back by deleting it, also while it arrives.
    """

    def __init__(self, path: Path, max_bytes: int) -> None:
        self.partial = PartialFile(path)
        self.max_bytes = max_bytes
        self.received = 0
        self.hash: str | None = None
        self.checking = asyncio.Lock()

    async def handle(self, caller: str, kind: str, message: object) -> object:
        try:
            if kind == "UploadChunk":
                self.write(message.get("chunk") if isinstance(message, dict) else None)
            elif kind == "UploadFinished":
                claimed = message.get("hash") if isinstance(message, dict) else None
                del message  # it may be large, and others are waiting with theirs
                if not isinstance(claimed, str) or len(claimed) != SHA3_DIGITS:
                    raise ServiceBusFault("IntegrityError")
                async with self.checking:
                    await self.finish(claimed)
            else:
                raise ServiceBusFault({"InternalError": f"an upload knows no {kind}"})
        except (TransferError, OSError) as error:
            raise ServiceBusFault({"WriteError": str(error)}) from error
        return None

    @property
    def taken_back(self) -> bool:
        if self.hash is not None:
            return not self.partial.path.exists()
        file = self.partial.file
        return file.closed or os.fstat(file.fileno()).st_nlink == 0

    def write(self, message: object) -> None:
        offset, content = chunk(message)
        if offset + len(content) > self.max_bytes:
            raise TransferError(f"{FILE_TOO_LARGE} the {self.max_bytes} bytes that are allowed")
        if self.checking.locked():
            raise TransferError("the file is being checked")
        if self.hash is None:
            if self.taken_back:
                raise TransferError("the file is not expected any more")
            self.partial.write(offset, content)
            self.received += len(content)

    async def finish(self, claimed: str) -> None:
        if self.hash is None:
            if self.taken_back:
                raise TransferError("the file is not expected any more")
            file = self.partial.file
            # If fewer bytes came than the file is long, it has holes. It is refused without reading it.
            complete = self.received >= os.fstat(file.fileno()).st_size
            if not complete or await asyncio.to_thread(sha3_256, file) != claimed:
                self.received = 0
                file.truncate(0)
                raise ServiceBusFault("IntegrityError")
            self.partial.keep()
            self.hash = claimed
        elif claimed != self.hash:
            raise ServiceBusFault("IntegrityError")

    def close(self) -> None:
        self.partial.discard()


class _NameTaken(TransferError):
    pass


class FileServer:
    """Publishes and receives files on a daemon's service bus; continues after a restart of the daemon.

    Args:
        url: the daemon's GSB_URL.
        max_bytes: bytes that each received file may have at most.
    """

    def __init__(self, url: str, *, max_bytes: int = MAX_FILE) -> None:
        self._url = url
        self._max_bytes = max_bytes
        self._files: dict[str, _Published | _Expected] = {}
        self._name_of: dict[str, str] = {}  # SHA3-256 of a published file → the name under which it is served
        self._bus: ServiceBus | None = None
        self._node = ""
        self._connecting = asyncio.Lock()
        self._watch: asyncio.Task[None] | None = None

    async def __aenter__(self) -> FileServer:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._watch is not None:
            self._watch.cancel()
        if self._bus is not None:
            await self._bus.close()
        for file in self._files.values():
            file.close()

    async def publish(self, path: Path) -> str:
        """Offers a file for download and returns its URL.

        Raises:
            TransferError: the file cannot be read, or the daemon cannot be reached.
        """
        try:
            file = _Published(path)
            content = await asyncio.to_thread(sha3_256, file.file)
        except OSError as error:
            raise TransferError(f"{path} cannot be published: {error.strerror or error}.") from error
        name = self._name_of.get(content)
        if name in self._files:  # a file of equal content is served already
            file.close()
            await self._connected()
            return f"gftp://{self._node}/{name}"
        try:
            url = await self._offer(content, file)
        except _NameTaken:
            # Another program on this bus, such as a second run, serves an equal file under its hash, and may end first.
            file = _Published(path)
            url = await self._offer(content + secrets.token_hex(ADDITION // 2), file)
        self._name_of[content] = parse_url(url)[1]
        return url

    async def receive(self, path: Path) -> str:
        """Opens a URL to which one file may be uploaded; the file then appears at `path`.

        The file may have as many bytes as `path` says, see `folder_for_files_of`, or else as this server allows.

        Raises:
            TransferError: the file cannot be written, or the daemon cannot be reached.
        """
        await self._close_what_was_taken_back()
        try:
            file = _Expected(path, limit_of(path, self._max_bytes))
        except OSError as error:
            raise TransferError(f"No file can be received as {path}: {error.strerror or error}.") from error
        return await self._offer(secrets.token_hex(32), file)

    async def close(self, url: str) -> bool:
        """Takes a file off the bus; returns whether it was there.

        Raises:
            TransferError: `url` is malformed.
        """
        _, name = parse_url(url)
        return await self._close(name)

    async def _close(self, name: str) -> bool:
        file = self._files.pop(name, None)
        if file is None:
            return False
        file.close()
        if self._bus is not None:
            with contextlib.suppress(ServiceBusError):
                await self._bus.unregister(_prefix(name))
        return True

    async def _close_what_was_taken_back(self) -> None:
        """Frees the disk from files that were deleted while they arrived, and forgets those that were fetched."""
        for name, file in list(self._files.items()):
            if isinstance(file, _Expected) and not file.checking.locked() and file.taken_back:
                await self._close(name)

    async def _offer(self, name: str, file: _Published | _Expected) -> str:
        self._files[name] = file
        try:
            bus = await self._connected()
            if not bus.serves(_prefix(name)):
                await bus.register(_prefix(name), self._handle)
        except (ServiceBusError, TransferError) as error:
            self._files.pop(name).close()
            taken = isinstance(error, ServiceBusError) and error.code == packets.Code.CONFLICT
            raise (_NameTaken if taken else TransferError)(str(error)) from error
        return f"gftp://{self._node}/{name}"

    def _handle(self, caller: str, address: str, message: object) -> Awaitable[object]:
        *_, name, kind = address.split("/")
        file = self._files.get(name)
        if file is None:
            raise ServiceBusFault({"InternalError": "the file is not published any more"})
        return file.handle(caller, kind, message)

    async def _connected(self) -> ServiceBus:
        """Returns the connection to the daemon. If there is none, connects and registers all files again."""
        async with self._connecting:
            if self._bus is not None and not self._bus.closed:
                return self._bus
            bus = await ServiceBus.connect(self._url, name="gftp")
            try:
                identity = await bus.call("/local/identity/Get", "byDefault")
                if not isinstance(identity, dict) or not isinstance(identity.get("nodeId"), str):
                    raise TransferError(f"The daemon at {self._url} does not tell its node id.")
                self._node = identity["nodeId"]
                for name in self._files:
                    try:
                        await bus.register(_prefix(name), self._handle)
                    except ServiceBusError as error:
                        if error.code != packets.Code.CONFLICT:  # otherwise another program serves an equal file by now
                            raise
            except BaseException:
                await bus.close()
                raise
            self._bus = bus
            if self._watch is None:
                self._watch = asyncio.create_task(self._reconnect())
            return bus

    async def _reconnect(self) -> None:
        while True:
            if self._bus is not None:
                await self._bus.wait_closed()
            with contextlib.suppress(ServiceBusError, TransferError):
                await self._connected()
            await asyncio.sleep(1)


def _prefix(name: str) -> str:
    return f"/public/gftp/{name}"
