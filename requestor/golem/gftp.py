"""Golem's file transfer (gftp): the provider's end, and the program `gftp server` for where Golem's own is absent.

Nothing from the other side is trusted: chunks must be the ones asked for, sizes stay under a cap, and a file takes
its name only when it is complete and its hash is right. Messages and limits: `gftp_protocol`.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
import shlex
import shutil
import sys
from collections.abc import Coroutine, Iterator
from pathlib import Path

from requestor.errors import TransferError
from requestor.golem import gftp_protocol
from requestor.golem.gftp_protocol import (
    CHUNK,
    MAX_FILE,
    MAX_RECEIVE_VARIABLE,
    PartialFile,
    number,
    parse_url,
    sha3_256,
)
from requestor.golem.gsb import ServiceBus, ServiceBusError

IN_FLIGHT = 8
"""Messages that await their answers at a time."""


async def download(
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


async def upload(
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


def gftp_on_path(folder: Path) -> dict[str, str]:
    """Makes sure that yapapi finds a program `gftp`: returns the variables to export, if any.

    Where Golem's own is on PATH, none. Otherwise PATH, led by `folder`, as `our_gftp_on_path` makes it.
    """
    return {} if shutil.which("gftp") is not None else our_gftp_on_path(folder)


def our_gftp_on_path(folder: Path, max_receive: int | None = None) -> dict[str, str]:
    """Makes yapapi start this program, even where Golem's own is on PATH: returns the variables to export.

    PATH is led by `folder`, into which an executable named `gftp` is written.

    Args:
        max_receive: bytes that any file taken in may have, which Golem's own does not limit; None: `MAX_FILE`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "gftp"
    unfinished = folder / f".gftp-{os.getpid()}"
    unfinished.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m requestor.golem.gftp "$@"\n')
    unfinished.chmod(0o755)
    unfinished.replace(program)
    limit = {} if max_receive is None else {MAX_RECEIVE_VARIABLE: str(max_receive)}
    return {"PATH": os.pathsep.join([str(folder.absolute()), os.environ.get("PATH", os.defpath)]), **limit}


def main() -> None:
    from requestor.golem.gftp_json_rpc import VERSION, serve_standard_streams

    if sys.argv[1:] == ["server"]:
        try:
            asyncio.run(serve_standard_streams())
        except TransferError as error:
            raise SystemExit(str(error)) from error
    elif sys.argv[1:] in (["--version"], ["version"]):
        print(VERSION)
    else:
        raise SystemExit("usage: gftp server | version")


if __name__ == "__main__":
    main()
