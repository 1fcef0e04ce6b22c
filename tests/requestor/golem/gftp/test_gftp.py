"""File transfer between two real yagna daemons: whole files, hostile peers, and yapapi with our `gftp` program."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha3_256
from pathlib import Path
from typing import Any

import pytest
from two_daemons import TwoDaemons, daemon_settings
from yapapi.storage.gftp import GftpProvider

from requestor.devnet.services.daemons import Daemon
from requestor.devnet.services.ports import Ports
from requestor.errors import TransferError
from requestor.golem.bus.calls import ServiceBusError, ServiceBusFault
from requestor.golem.bus.connection import ServiceBus
from requestor.golem.gftp.client import download_over_gftp, upload_over_gftp
from requestor.golem.gftp.messages import CHUNK, MAX_RECEIVE_VARIABLE, parse_url
from requestor.golem.gftp.program import gftp_on_path, our_gftp_on_path
from requestor.golem.gftp.server import FileServer

CONTENT = random.Random(1).randbytes(5 * 10**6 + 17)  # several chunks and a part of one


@dataclass(frozen=True)
class Ends:
    """A file server on the requestor's daemon, a connection to the provider's, and one beside the server."""

    server: FileServer
    provider: ServiceBus
    requestor: ServiceBus
    node_id: str


@asynccontextmanager
async def both_ends(daemons: TwoDaemons, *, max_bytes: int = 10**9) -> AsyncIterator[Ends]:
    async with (
        FileServer(daemons.requestor.gsb_url, max_bytes=max_bytes) as server,
        await ServiceBus.connect(daemons.provider.gsb_url) as provider,
        await ServiceBus.connect(daemons.requestor.gsb_url) as requestor,
    ):
        yield Ends(server, provider, requestor, daemons.requestor.node_id)


def visible(folder: Path) -> list[str]:
    """Returns everything in a folder, hidden files included."""
    return sorted(path.name for path in folder.iterdir())


# ---- whole files


@pytest.mark.parametrize("size", [0, 1, CHUNK, CHUNK + 1, len(CONTENT)])
def test_files_arrive_as_they_were_sent(two_daemons: TwoDaemons, tmp_path: Path, size: int) -> None:
    content = CONTENT[:size]
    (tmp_path / "source").write_bytes(content)

    async def work() -> None:
        async with both_ends(two_daemons) as ends:
            url = await ends.server.publish(tmp_path / "source")
            assert parse_url(url) == (ends.node_id, sha3_256(content).hexdigest())
            assert await download_over_gftp(ends.provider, url, tmp_path / "new folder" / "fetched") == size
            expected = await ends.server.receive(tmp_path / "received")
            assert await upload_over_gftp(ends.provider, tmp_path / "source", expected) == size

    asyncio.run(work())
    assert (tmp_path / "new folder" / "fetched").read_bytes() == content
    assert (tmp_path / "received").read_bytes() == content
    assert visible(tmp_path) == ["new folder", "received", "source"]
    assert visible(tmp_path / "new folder") == ["fetched"]


def test_golems_own_way_of_asking_works_too(two_daemons: TwoDaemons, tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(CONTENT)

    async def work() -> None:
        async with both_ends(two_daemons) as ends:
            url = await ends.server.publish(tmp_path / "source")
            await download_over_gftp(ends.provider, url, tmp_path / "fetched", chunk=40 * 1024, in_flight=12)
            expected = await ends.server.receive(tmp_path / "received")
            await upload_over_gftp(ends.provider, tmp_path / "source", expected, chunk=40 * 1024, in_flight=3)

    asyncio.run(work())
    assert (tmp_path / "fetched").read_bytes() == (tmp_path / "received").read_bytes() == CONTENT


def test_a_closed_url_serves_no_more(two_daemons: TwoDaemons, tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(CONTENT)

    async def work() -> None:
        async with both_ends(two_daemons) as ends:
            url = await ends.server.publish(tmp_path / "source")
            assert await ends.server.publish(tmp_path / "source") == url
            assert await ends.server.close(url)
            assert not await ends.server.close(url)
            with pytest.raises(TransferError, match="gave no answer"):
                await download_over_gftp(ends.provider, url, tmp_path / "fetched")
            assert await ends.server.publish(tmp_path / "source") == url
            await download_over_gftp(ends.provider, url, tmp_path / "fetched")

    asyncio.run(work())


def test_a_published_file_is_served_as_it_was_although_its_name_has_gone(
    two_daemons: TwoDaemons, tmp_path: Path
) -> None:
    (tmp_path / "source").write_bytes(CONTENT)

    async def work() -> None:
        async with both_ends(two_daemons) as ends:
            url = await ends.server.publish(tmp_path / "source")
            (tmp_path / "source").unlink()
            await download_over_gftp(ends.provider, url, tmp_path / "fetched")

    asyncio.run(work())
    assert (tmp_path / "fetched").read_bytes() == CONTENT


def test_two_programs_serve_equal_files_and_each_ends_for_itself(two_daemons: TwoDaemons, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(SMALL)
    (tmp_path / "copy").write_bytes(SMALL)

    async def work() -> None:
        async with both_ends(two_daemons) as ends:
            async with FileServer(two_daemons.requestor.gsb_url) as other:
                first, again = [await other.publish(tmp_path / name) for name in ("file", "copy")]
                assert first == again  # one program serves equal files once
                url = await ends.server.publish(tmp_path / "file")
                assert url != first
                await download_over_gftp(ends.provider, first, tmp_path / "from first")
            await download_over_gftp(ends.provider, url, tmp_path / "from second")

    asyncio.run(work())
    assert (tmp_path / "from first").read_bytes() == (tmp_path / "from second").read_bytes() == SMALL


def test_published_files_survive_a_restart_of_the_daemon(two_daemons: TwoDaemons, tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(CONTENT)

    async def work() -> None:
        with Ports() as ports:
            daemon = Daemon(daemon_settings(tmp_path / "daemon", ports, two_daemons.hub.port))
            try:
                await daemon.start()
                async with FileServer(daemon.gsb_url) as server:
                    _, name = parse_url(await server.publish(tmp_path / "source"))
                    await daemon.stop()
                    await daemon.start()
                    async with await ServiceBus.connect(daemon.gsb_url) as bus:
                        answer = None
                        while answer is None:
                            with contextlib.suppress(ServiceBusError):
                                answer = await bus.call(f"/public/gftp/{name}/GetMetadata", None)
                            await asyncio.sleep(0.1)
                        assert answer == {"fileSize": len(CONTENT)}
            finally:
                await daemon.stop()

    asyncio.run(work())


# ---- a hostile publisher

SMALL = CONTENT[:10_000]
NAME = sha3_256(SMALL).hexdigest()


def good_chunk(message: Any) -> dict[str, object]:
    offset, size = message["offset"], message["size"]
    return {"offset": offset, "content": SMALL[offset : offset + size]}


def altered(content: bytes) -> bytes:
    return bytes([content[0] ^ 1]) + content[1:]


HOSTILE: dict[str, tuple[object, Callable[[Any], object], str]] = {
    "too large": ({"fileSize": 2_000_000}, good_chunk, "more than the 1000000 that are allowed"),
    "negative size": ({"fileSize": -1}, good_chunk, "without a proper 'fileSize'"),
    "size no number": ({"fileSize": True}, good_chunk, "without a proper 'fileSize'"),
    "no metadata": (["?"], good_chunk, "without a proper 'fileSize'"),
    "shorter than said": ({"fileSize": 20_000}, good_chunk, r"0 at 1\d000 came"),
    "longer than said": ({"fileSize": 9_000}, good_chunk, "another hash"),
    "other bytes": (None, lambda m: good_chunk(m) | {"content": altered(good_chunk(m)["content"])}, "another hash"),  # type: ignore[arg-type]
    "wrong offset": (None, lambda m: good_chunk(m) | {"offset": m["offset"] + 1}, "were asked for"),
    "negative offset": (None, lambda m: good_chunk(m) | {"offset": -1}, "without a proper 'offset'"),
    "over-long chunk": (None, lambda m: good_chunk(m) | {"content": bytes(100_000)}, "100000 at"),
    "short chunk": (None, lambda m: good_chunk(m) | {"content": b""}, "0 at"),
    "text for bytes": (None, lambda m: good_chunk(m) | {"content": "x" * m["size"]}, "without content"),
    "no chunk": (None, lambda m: None, "without content"),
}


def serve_as(
    daemons: TwoDaemons, destination: Path, metadata: object, chunk: Callable[[Any], object | Awaitable[object]]
) -> None:
    """Downloads from a publisher that answers as the test sets, with 1000 bytes per message."""

    async def handle(caller: str, address: str, message: object) -> object:
        if address.endswith("/GetMetadata"):
            return metadata or {"fileSize": len(SMALL)}
        answer = chunk(message)
        return await answer if isinstance(answer, Awaitable) else answer

    async def work() -> None:
        async with both_ends(daemons) as ends:
            await ends.requestor.register(f"/public/gftp/{NAME}", handle)
            url = f"gftp://{ends.node_id}/{NAME}"
            await download_over_gftp(ends.provider, url, destination, chunk=1000, max_bytes=10**6)

    asyncio.run(work())


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_publisher_leaves_nothing_behind(two_daemons: TwoDaemons, tmp_path: Path, case: str) -> None:
    metadata, chunk, problem = HOSTILE[case]
    (tmp_path / "fetched").write_bytes(b"what was there before")
    with pytest.raises(TransferError, match=problem):
        serve_as(two_daemons, tmp_path / "fetched", metadata, chunk)
    assert visible(tmp_path) == ["fetched"]
    assert (tmp_path / "fetched").read_bytes() == b"what was there before"


def test_a_publisher_that_fails_is_quoted(two_daemons: TwoDaemons, tmp_path: Path) -> None:
    def fail(message: Any) -> object:
        raise ServiceBusFault({"ReadError": "disk on fire"})

    with pytest.raises(TransferError, match="disk on fire"):
        serve_as(two_daemons, tmp_path / "fetched", None, fail)
    assert visible(tmp_path) == []


def test_chunks_may_come_in_any_order(two_daemons: TwoDaemons, tmp_path: Path) -> None:
    waiting: list[asyncio.Event] = []

    async def last_first(message: Any) -> object:
        waiting.append(asyncio.Event())
        mine = waiting[-1]
        asyncio.get_running_loop().call_later(0.05, lambda: waiting.pop().set() if waiting else None)
        await mine.wait()
        return good_chunk(message)

    serve_as(two_daemons, tmp_path / "fetched", None, last_first)
    assert (tmp_path / "fetched").read_bytes() == SMALL


@pytest.mark.parametrize(
    "url", ["", "http://x/y", "gftp://0x12/ab", f"gftp://0x{'0' * 40}/../x", f"gftp://0x{'0' * 40}/short"]
)
def test_a_url_that_names_no_file_by_its_hash_is_refused(two_daemons: TwoDaemons, tmp_path: Path, url: str) -> None:
    async def work() -> None:
        async with both_ends(two_daemons) as ends:
            await download_over_gftp(ends.provider, url, tmp_path / "fetched")

    with pytest.raises(TransferError, match="gftp"):
        asyncio.run(work())


# ---- a hostile uploader


@asynccontextmanager
async def expecting(daemons: TwoDaemons, path: Path) -> AsyncIterator[Callable[..., Awaitable[object]]]:
    """Opens a URL for `path`, at most 1000 bytes, and yields a function that sends messages to it."""
    async with both_ends(daemons, max_bytes=1000) as ends:
        node, name = parse_url(await ends.server.receive(path))

        async def send(message: str, content: object) -> object:
            return await ends.provider.call(f"/net/{node}/gftp/{name}/{message}", content)

        yield send


def chunk_at(offset: int, content: object) -> dict[str, object]:
    return {"chunk": {"offset": offset, "content": content}}


@pytest.mark.parametrize(
    "message",
    [
        chunk_at(990, bytes(11)),
        chunk_at(10**15, b"x"),
        chunk_at(-1, b"x"),
        chunk_at(0, "text"),
        {"chunk": None},
        None,
    ],
)
def test_a_chunk_that_does_not_fit_is_refused(two_daemons: TwoDaemons, tmp_path: Path, message: object) -> None:
    async def work() -> None:
        async with expecting(two_daemons, tmp_path / "file") as send:
            with pytest.raises(ServiceBusFault, match="WriteError"):
                await send("UploadChunk", message)

    asyncio.run(work())
    assert visible(tmp_path) == []


@pytest.mark.parametrize(
    ("chunks", "finish"),
    [
        ([(0, b"abc")], {"hash": sha3_256(b"abd").hexdigest()}),
        ([(0, b"abc")], {"hash": None}),
        ([(0, b"abc")], None),
        ([(6, b"abc")], {"hash": sha3_256(bytes(6) + b"abc").hexdigest()}),  # a hole is not content
    ],
)
def test_an_upload_that_is_not_what_it_says_is_refused(
    two_daemons: TwoDaemons, tmp_path: Path, chunks: list[tuple[int, bytes]], finish: object
) -> None:
    async def work() -> None:
        async with expecting(two_daemons, tmp_path / "file") as send:
            for offset, content in chunks:
                await send("UploadChunk", chunk_at(offset, content))
            with pytest.raises(ServiceBusFault, match="IntegrityError"):
                await send("UploadFinished", finish)
            assert not (tmp_path / "file").exists()

    asyncio.run(work())
    assert visible(tmp_path) == []


def test_an_uploader_may_start_over(two_daemons: TwoDaemons, tmp_path: Path) -> None:
    good = {"hash": sha3_256(b"abc").hexdigest()}

    async def work() -> None:
        async with expecting(two_daemons, tmp_path / "file") as send:
            await send("UploadChunk", chunk_at(0, b"longer, and wrong"))
            with pytest.raises(ServiceBusFault, match="IntegrityError"):
                await send("UploadFinished", good)
            for _ in range(2):  # the second time as if the first answer had been lost
                await send("UploadChunk", chunk_at(2, b"c"))
                await send("UploadChunk", chunk_at(0, b"ab"))
                assert await send("UploadFinished", good) is None
            await send("UploadChunk", chunk_at(0, b"ABC"))
            with pytest.raises(ServiceBusFault, match="IntegrityError"):
                await send("UploadFinished", {"hash": sha3_256(b"ABC").hexdigest()})

    asyncio.run(work())
    assert (tmp_path / "file").read_bytes() == b"abc"


# ---- the program


class Program:
    """Runs `gftp server`, and sends requests to its stdin."""

    def __init__(self, gsb_url: str, **variables: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "requestor.golem.gftp.program", "server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"GSB_URL": gsb_url} | variables,
        )

    def say(self, line: str) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def ask(self, method: str, **parameters: object) -> Any:
        return self.say(json.dumps({"jsonrpc": "2.0", "id": 7, "method": method, "params": parameters}))


@pytest.fixture
def program(two_daemons: TwoDaemons) -> Iterator[Program]:
    started = Program(two_daemons.requestor.gsb_url)
    yield started
    started.process.kill()
    started.process.wait()


def test_yapapi_moves_files_through_our_program(
    two_daemons: TwoDaemons, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    for name, value in gftp_on_path(tmp_path / "bin").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("GSB_URL", two_daemons.requestor.gsb_url)

    async def work() -> None:
        async with (
            GftpProvider() as storage,
            await ServiceBus.connect(two_daemons.provider.gsb_url) as provider,
        ):
            source = await storage.upload_bytes(CONTENT)
            await download_over_gftp(provider, source.download_url, tmp_path / "fetched")
            destination = await storage.new_destination(tmp_path / "received")
            await upload_over_gftp(provider, tmp_path / "fetched", destination.upload_url)
            await destination.download_file(tmp_path / "received")

    asyncio.run(work())
    assert (tmp_path / "received").read_bytes() == CONTENT


def test_golems_own_gftp_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    golems = tmp_path / "golem" / "gftp"
    golems.parent.mkdir()
    golems.write_text("#!/bin/sh\n")
    golems.chmod(0o755)
    monkeypatch.setenv("PATH", str(golems.parent))
    assert gftp_on_path(tmp_path / "bin") == {}
    assert not (tmp_path / "bin").exists()


def test_golems_own_gftp_is_passed_over_for_a_cap_on_what_is_taken_in(tmp_path: Path) -> None:
    variables = our_gftp_on_path(tmp_path / "bin", max_receive=1000)
    assert shutil.which("gftp", path=variables["PATH"]) == str(tmp_path / "bin" / "gftp")
    assert variables[MAX_RECEIVE_VARIABLE] == "1000"


def test_the_program_takes_in_no_more_than_the_cap_says(two_daemons: TwoDaemons, tmp_path: Path) -> None:
    program = Program(two_daemons.requestor.gsb_url, **{MAX_RECEIVE_VARIABLE: "1000"})
    (tmp_path / "fits").write_bytes(CONTENT[:1000])
    (tmp_path / "too large").write_bytes(CONTENT[:1001])
    try:
        for name in ("fits", "too large"):
            expected = program.ask("receive", output_file=str(tmp_path / "received" / name))["result"]
            answer = program.ask("upload", file=str(tmp_path / name), url=expected["url"])
        assert "more than the 1000 bytes that are allowed" in answer["error"]["message"]
        assert program.ask("shutdown")["result"] == "ok"
        program.process.wait(timeout=30)
    finally:
        program.process.kill()
        program.process.wait()
    assert visible(tmp_path / "received") == ["fits"]


def test_a_cap_that_is_no_number_is_refused() -> None:
    program = Program("tcp://127.0.0.1:1", **{MAX_RECEIVE_VARIABLE: "2GB"})
    assert program.process.communicate(timeout=30)[0] == b""
    assert program.process.returncode == 1


def test_the_program_downloads_and_uploads_too(program: Program, two_daemons: TwoDaemons, tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(CONTENT)
    (link,) = program.ask("publish", files=[str(tmp_path / "source")])["result"]
    assert link["file"] == str(tmp_path / "source")
    program.ask("download", url=link["url"], output_file=str(tmp_path / "fetched"))
    expected = program.ask("receive", output_file=str(tmp_path / "received"))["result"]
    program.ask("upload", file=str(tmp_path / "fetched"), url=expected["url"])
    assert (tmp_path / "received").read_bytes() == CONTENT
    assert program.ask("close", urls=[link["url"], link["url"]])["result"] == ["ok", "error"]
    assert program.ask("shutdown")["result"] == "ok"
    assert program.process.wait(10) == 0


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("{not json", -32700),
        ("[]", -32600),
        ('{"id": 1, "method": "version"}', -32600),
        ('{"jsonrpc": "2.0", "id": 1, "method": "format_disk"}', -32601),
        ('{"jsonrpc": "2.0", "id": 1, "method": "publish", "params": {"files": []}}', -32602),
        ('{"jsonrpc": "2.0", "id": 1, "method": "publish", "params": ["x"]}', -32602),
        ('{"jsonrpc": "2.0", "id": 1, "method": "publish", "params": {"files": ["/no/such"]}}', -32000),
        ('{"jsonrpc": "2.0", "id": 1, "method": "close", "params": {"urls": ["gftp://?"]}}', -32000),
    ],
)
def test_a_bad_request_gets_an_error_and_the_program_goes_on(program: Program, line: str, code: int) -> None:
    assert program.say(line)["error"]["code"] == code
    assert program.ask("version") == {"jsonrpc": "2.0", "id": 7, "result": "0.17.6 (nima-golem)"}


def test_without_a_daemon_the_program_says_so(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"x")
    program = Program("tcp://127.0.0.1:1")
    try:
        error = program.ask("publish", files=[str(tmp_path / "source")])["error"]
        assert error["code"] == -32000
        assert "is yagna running" in error["message"]
    finally:
        program.process.kill()
        program.process.wait()


def test_the_program_ends_with_its_input(program: Program) -> None:
    assert program.process.stdin is not None
    program.process.stdin.close()
    assert program.process.wait(10) == 0
