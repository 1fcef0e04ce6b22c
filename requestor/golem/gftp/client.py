"""Golem's file transfer (gftp), the provider's end: fetching a published file, and sending one.

Nothing from the other side is trusted: chunks must be the ones asked for, sizes stay under a cap, and a file takes
its name only when it is complete and its hash is right. Messages and limits: `gftp_protocol`.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
from collections.abc import Coroutine, Iterator
from pathlib import Path

from requestor.errors import TransferError
from requestor.golem.bus import ServiceBus, ServiceBusError
from requestor.golem.gftp import messages as gftp_protocol
from requestor.golem.gftp.messages import CHUNK, MAX_FILE, PartialFile, number, parse_url, sha3_256

IN_FLIGHT = 8
"""Messages that await their answers at a time."""


async def download_over_gftp(
    bus: ServiceBus,
    url: str,
    destination: Path,
    *,
    max_bytes: int = MAX_FILE,
    chunk: int = CHUNK,
    in_flight: int = IN_FLIGHT,
    timeout: float = 60.0,
) -> int:
    """Fetches a published file to `destination`, whole or not at all, and returns its size in bytes.

    Args:
        url: gftp://NODE_ID/SHA3_256; the file must have this hash.
        max_bytes: a larger file is refused before anything is written.
        chunk: bytes asked for in one message.
        in_flight: messages awaiting their answers at a time.
        timeout: seconds to wait for each answer.

    Raises:
        TransferError: a malformed URL, a node that is gone, a file that is too large or is not what the URL says.
    """
    node, name = parse_url(url)
    if not re.fullmatch("[0-9a-f]{64}", name):
        raise TransferError(f"{url} does not name a file by its hash, so what it serves cannot be checked.")
    address = f"/transfer/net/{node}/gftp/{name}"
    with _explained(f"{url} cannot be downloaded"):
        size = number(await bus.call(f"{address}/GetMetadata", None, timeout=timeout), "fileSize")
        if size > max_bytes:
            raise TransferError(f"it has {size} bytes, more than the {max_bytes} that are allowed")
        partial = PartialFile(destination)
        try:
            offsets = iter(range(0, size, chunk))  # shared by all who fetch

            async def fetch() -> None:
                for offset in offsets:
                    wanted = min(chunk, size - offset)
                    question = {"offset": offset, "size": wanted}
                    answer = await bus.call(f"{address}/GetChunk", question, timeout=timeout)
                    came_at, content = gftp_protocol.chunk(answer)
                    if came_at != offset or len(content) != wanted:
                        raise TransferError(
                            f"{wanted} bytes at {offset} were asked for, {len(content)} at {came_at} came"
                        )
                    partial.write(offset, content)

            await _together([fetch() for _ in range(in_flight)])
            if await asyncio.to_thread(sha3_256, partial.file) != name:
                raise TransferError("what it serves has another hash than its name says")
            partial.keep()
        finally:
            partial.discard()
    return size


async def upload_over_gftp(
    bus: ServiceBus,
    source: Path,
    url: str,
    *,
    chunk: int = CHUNK,
    in_flight: int = IN_FLIGHT,
    timeout: float = 60.0,
) -> int:
    """Sends a file to a URL that a requestor has opened for it, and returns its size in bytes.

    Args: as of `download`.

    Raises:
        TransferError: a malformed URL, an unreadable file, a node that is gone or refuses.
    """
    node, name = parse_url(url)
    address = f"/net/{node}/gftp/{name}"
    with _explained(f"{source} cannot be uploaded to {url}"), source.open("rb") as file:
        digest = hashlib.sha3_256()
        size = 0

        async def send() -> None:
            nonlocal size
            while content := file.read(chunk):
                digest.update(content)  # in the file's order, because nothing is awaited since the read
                message = {"chunk": {"offset": size, "content": content}}
                size += len(content)
                await bus.call(f"{address}/UploadChunk", message, timeout=timeout)

        await _together([send() for _ in range(in_flight)])
        await bus.call(f"{address}/UploadFinished", {"hash": digest.hexdigest()}, timeout=timeout)
    return size


async def _together(workers: list[Coroutine[None, None, None]]) -> None:
    """Runs the workers side by side; the first failure ends the others and is raised."""
    tasks = [asyncio.create_task(worker) for worker in workers]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.contextmanager
def _explained(what: str) -> Iterator[None]:
    try:
        yield
    except (ServiceBusError, TransferError, OSError) as error:
        raise TransferError(f"{what}: {str(error).rstrip('.')}.") from error
