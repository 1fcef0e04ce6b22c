"""Runs as the program `gftp` on machines without Golem's own one, and makes yapapi find it.

`gftp server` is file transfer as JSON-RPC 2.0 on stdin and stdout, one message a line.

Methods: `version`, `publish {files}`, `close {urls}`, `download {url, output_file}`, `receive {output_file}`,
`upload {file, url}`, `shutdown`. Ends with `shutdown` or with the end of stdin. Source: yagna's core/gftp.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import shlex
import shutil
import sys
from pathlib import Path

from nima.safe_io import write_atomically
from requestor.errors import RequestorError, TransferError
from requestor.golem.bus import ServiceBus
from requestor.golem.gftp.client import download_over_gftp, upload_over_gftp
from requestor.golem.gftp.messages import MAX_FILE, MAX_RECEIVE_VARIABLE
from requestor.golem.gftp.server import FileServer

VERSION = "0.17.6 (nima-golem)"
"""The release of Golem's gftp that this program behaves like. yapapi needs a semantic version at the beginning."""

_DEFAULT_GSB_URL = "unix:/tmp/yagna.sock"  # yagna's own default
_MAX_LINE = 16 * 1024 * 1024

_PARSE_ERROR, _INVALID_REQUEST, _METHOD_NOT_FOUND = -32700, -32600, -32601
_INVALID_PARAMS, _SERVER_ERROR = -32602, -32000


class _RpcError(Exception):
    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class _Parameters:
    """Reads the parameters of a request, and checks that each has the type that it must have."""

    def __init__(self, request: dict[str, object]) -> None:
        parameters = request.get("params", {})
        if not isinstance(parameters, dict):
            raise _RpcError(_INVALID_PARAMS, "the parameters must be named")
        self._parameters = parameters

    def text(self, name: str) -> str:
        value = self._parameters.get(name)
        if not isinstance(value, str):
            raise _RpcError(_INVALID_PARAMS, f"the parameter {name!r} must be a string")
        return value

    def texts(self, name: str) -> list[str]:
        value = self._parameters.get(name)
        if not isinstance(value, list) or not value or not all(isinstance(item, str) for item in value):
            raise _RpcError(_INVALID_PARAMS, f"the parameter {name!r} must be a list of strings")
        return value


async def _call(server: FileServer, gsb_url: str, request: dict[str, object]) -> object:
    method, parameters = request.get("method"), _Parameters(request)
    if method == "version":
        return VERSION
    if method == "publish":
        files = parameters.texts("files")
        return [{"file": file, "url": await server.publish(Path(file))} for file in files]
    if method == "close":
        return ["ok" if await server.close(url) else "error" for url in parameters.texts("urls")]
    if method == "receive":
        file = parameters.text("output_file")
        return {"file": file, "url": await server.receive(Path(file))}
    if method == "download":
        file, url = parameters.text("output_file"), parameters.text("url")
        async with await ServiceBus.connect(gsb_url, name="gftp") as bus:
            await download_over_gftp(bus, url, Path(file))
        return {"file": file, "url": url}
    if method == "upload":
        file, url = parameters.text("file"), parameters.text("url")
        async with await ServiceBus.connect(gsb_url, name="gftp") as bus:
            await upload_over_gftp(bus, Path(file), url)
        return {"file": file, "url": url}
    if method == "shutdown":
        return "ok"
    raise _RpcError(_METHOD_NOT_FOUND, f"there is no method {method!r:.100}")


async def _answer(server: FileServer, gsb_url: str, line: bytes) -> tuple[dict[str, object], bool]:
    """Returns the response to a line, and whether it was a shutdown."""
    identifier: object = None
    try:
        try:
            request = json.loads(line)
        except ValueError as error:
            raise _RpcError(_PARSE_ERROR, f"the line is not JSON: {error}") from error
        if not isinstance(request, dict) or request.get("jsonrpc") != "2.0":
            raise _RpcError(_INVALID_REQUEST, "the line is no JSON-RPC 2.0 request")
        identifier = request.get("id")
        result = await _call(server, gsb_url, request)
        return {"jsonrpc": "2.0", "id": identifier, "result": result}, request["method"] == "shutdown"
    except _RpcError as error:
        code, message = error.code, str(error)
    except (RequestorError, OSError) as error:
        code, message = _SERVER_ERROR, str(error)
    return {"jsonrpc": "2.0", "id": identifier, "error": {"code": code, "message": message}}, False


def _max_receive() -> int:
    text = os.environ.get(MAX_RECEIVE_VARIABLE, str(MAX_FILE))
    if not text.isdecimal():
        raise TransferError(f"{MAX_RECEIVE_VARIABLE} is {text!r}: it must be a number of bytes.")
    return int(text)


async def serve_standard_streams() -> None:
    """Answers requests until `shutdown` or the end of stdin. GSB_URL names the daemon.

    Raises TransferError if NIMA_GOLEM_GFTP_MAX_RECEIVE is no number of bytes.
    """
    gsb_url = os.environ.get("GSB_URL") or _DEFAULT_GSB_URL
    if "://" not in gsb_url and not gsb_url.startswith("unix:"):
        gsb_url = f"tcp://{gsb_url}"  # yagna accepts HOST:PORT without a scheme, too
    # Every published file stays open, and a long run publishes thousands.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    lines = asyncio.StreamReader(limit=_MAX_LINE)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    stopped = asyncio.Event()
    running: set[asyncio.Task[None]] = set()

    async with FileServer(gsb_url, max_bytes=_max_receive()) as server:

        async def respond(line: bytes) -> None:
            response, shutdown = await _answer(server, gsb_url, line)
            print(json.dumps(response), flush=True)
            if shutdown:
                stopped.set()

        async def read() -> None:
            while line := await lines.readline():
                if line.strip():
                    task = asyncio.create_task(respond(line))  # a download must not delay the other requests
                    running.add(task)
                    task.add_done_callback(running.discard)

        reading = asyncio.create_task(read())
        stopping = asyncio.create_task(stopped.wait())
        await asyncio.wait({reading, stopping}, return_when=asyncio.FIRST_COMPLETED)
        for task in (reading, stopping, *running):
            task.cancel()
        await asyncio.gather(reading, stopping, *running, return_exceptions=True)


def gftp_on_path(folder: Path) -> dict[str, str]:
    """Makes sure that yapapi finds a program `gftp`; returns the environment variables to export.

    There are none if Golem's own program is on PATH. Otherwise `our_gftp_on_path` makes and returns them.
    """
    return {} if shutil.which("gftp") is not None else our_gftp_on_path(folder)


def our_gftp_on_path(folder: Path, max_receive: int | None = None) -> dict[str, str]:
    """Makes yapapi start this program, even if Golem's own is on PATH; returns the environment variables to export.

    Writes an executable named `gftp` into `folder`, and puts `folder` at the beginning of PATH.

    Args:
        folder: is made if it is missing.
        max_receive: bytes that a received file may have at most (Golem's own program has no limit); None: `MAX_FILE`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # Signals that are ignored here stay so, also before the program has left the terminal's process group.
    program = (
        f'#!/bin/sh\ntrap "" INT QUIT HUP\nexec {shlex.quote(sys.executable)} -m requestor.golem.gftp.program "$@"\n'
    )
    write_atomically(folder / "gftp", program.encode(), mode=0o755)
    limit = {} if max_receive is None else {MAX_RECEIVE_VARIABLE: str(max_receive)}
    return {"PATH": os.pathsep.join([str(folder.absolute()), os.environ.get("PATH", os.defpath)]), **limit}


def main() -> None:
    """Runs `gftp server`, or prints the version for `gftp version`."""
    if sys.argv[1:] == ["server"]:
        if os.getpid() != os.getpgrp():  # Ctrl-C in the terminal must not reach it: providers still fetch files then
            os.setsid()
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
