"""Fetches and sends files as a provider does, by Golem's file transfer protocol (gftp).

Nothing from the other side is trusted: chunks must be the requested ones, sizes stay under a limit, and a file gets
its name only when it is complete and its hash is right. `messages` has the messages and limits.
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
from requestor.golem.gftp.messages import ADDITION, CHUNK, MAX_FILE, PartialFile, number, parse_url, sha3_256

IN_FLIGHT = 8
"""Number of messages that wait for their answers at the same time."""


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
        bus: a connection to this node's daemon.
        url: gftp://NODE_ID/SHA3_256, perhaps with further hex digits; the file must have this hash.
        max_bytes: a larger file is refused before anything is written.
        chunk: bytes that one message asks for.
        in_flight: number of messages that wait for their answers at the same time.
        timeout: seconds to wait for each answer.

    Raises:
        TransferError: the URL is malformed, the node cannot be reached, the file is too large or has another hash, or
            it cannot be written.
    """
    node, name = parse_url(url)
    if not re.fullmatch(f"[0-9a-f]{{64}}([0-9a-f]{{{ADDITION}}})?", name):
        raise TransferError(f"{url} does not name a file by its hash, so its content cannot be checked.")
    address = f"/transfer/net/{node}/gftp/{name}"
    with _explained(f"{url} cannot be downloaded"):
        size = number(await bus.call(f"{address}/GetMetadata", None, timeout=timeout), "fileSize")
        if size > max_bytes:
            raise TransferError(f"it has {size} bytes, more than the {max_bytes} that are allowed")
        partial = PartialFile(destination)
        try:
            offsets = iter(range(0, size, chunk))  # all workers take their offsets from it

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
            if await asyncio.to_thread(sha3_256, partial.file) != name[:64]:
                raise TransferError("the content has another hash than its name says")
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

    The other arguments are those of `download_over_gftp`.

    Raises:
        TransferError: the URL is malformed, the file cannot be read, or the node cannot be reached or refuses the file.
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
    """Runs the workers side by side; if one fails, ends the others and raises its error."""
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
