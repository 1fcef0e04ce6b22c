"""A provider that asks for much and reads nothing: the file server's memory, its disk, and what others still get."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from deaf_router import DeafRouter, deaf_router

from requestor.golem.bus import flexbuffers
from requestor.golem.bus.calls import ServiceBusFault
from requestor.golem.bus.packets import CallReply, CallRequest, Code
from requestor.golem.gftp.messages import MAX_CHUNK, MAX_READINGS, folder_for_files_of
from requestor.golem.gftp.server import FileServer

MEBIBYTE = 2**20
HOSTILE, HONEST = "0x" + "6" * 40, "0x" + "7" * 40


def attack(
    folder: Path, method: str, calls: Callable[[str], list[CallRequest]], size: int = 8 * MEBIBYTE, read: bool = True
) -> tuple[int, list[CallReply]]:
    """Floods the program `gftp` with calls for one file, and then reads, or only waits.

    Returns its largest resident memory in bytes, and the answers.
    """

    async def work() -> tuple[int, list[CallReply]]:
        with (folder / "file").open("wb") as file:
            file.truncate(size)
        parameters = {"publish": {"files": [str(folder / "file")]}, "receive": {"output_file": str(folder / "file")}}
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters[method]}
        async with deaf_router() as (url, connected):
            program = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "requestor.golem.gftp.program", "server"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env=os.environ | {"GSB_URL": url},
            )
            try:
                assert program.stdin is not None
                assert program.stdout is not None
                program.stdin.write(json.dumps(request).encode() + b"\n")
                answer = json.loads(await program.stdout.readline())["result"]
                address = (answer[0] if method == "publish" else answer)["url"].rpartition("/")[2]
                router: DeafRouter = await connected
                await router.flood(calls(f"/public/gftp/{address}"))
                answers = await router.read_all(0.5) if read else []
                await asyncio.sleep(0 if read else 2)
                status = Path(f"/proc/{program.pid}/status").read_text()
                peak = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
                return int(peak) * 1024, answers
            finally:
                program.kill()
                await program.wait()

    return asyncio.run(work())


def chunk_calls(caller: str, count: int, size: int = 4 * MEBIBYTE) -> Callable[[str], list[CallRequest]]:
    message = flexbuffers.encode({"offset": 0, "size": size})
    return lambda address: [CallRequest(caller, f"{address}/GetChunk", f"{caller}-{n}", message) for n in range(count)]


def test_four_hundred_requests_of_a_provider_that_does_not_read_take_little_memory(tmp_path: Path) -> None:
    peak, answers = attack(tmp_path, "publish", chunk_calls(HOSTILE, 400))
    assert peak < 200 * MEBIBYTE
    assert 0 < len(answers) <= 400


def test_many_callers_take_no_more(tmp_path: Path) -> None:
    def calls(address: str) -> list[CallRequest]:
        return [call for n in range(300) for call in chunk_calls(f"0x{n:040x}", 1)(address)]

    peak, _ = attack(tmp_path, "publish", calls, read=False)
    assert peak < 200 * MEBIBYTE


def test_a_flood_leaves_room_for_the_calls_of_others(tmp_path: Path) -> None:
    def calls(address: str) -> list[CallRequest]:
        return chunk_calls(HOSTILE, 3000)(address) + chunk_calls(HONEST, 8, 1000)(address)

    _, answers = attack(tmp_path, "publish", calls)
    assert [answer.code for answer in answers if answer.request_id.startswith(HONEST)] == [Code.OK] * 8


def test_one_caller_reads_a_file_a_few_times_only(tmp_path: Path) -> None:
    _, answers = attack(tmp_path, "publish", chunk_calls(HOSTILE, 50), size=MAX_CHUNK)
    contents = [flexbuffers.decode(answer.data) for answer in answers]
    assert sum("Ok" in content for content in contents) == MAX_READINGS  # type: ignore[operator]
    assert {"Err": {"ReadError": f"the file was sent {MAX_READINGS} times"}} in contents


def test_a_file_that_is_not_wanted_any_more_frees_its_disk_space(tmp_path: Path) -> None:
    async def work() -> None:
        async with deaf_router() as (url, connected), FileServer(url) as server:
            folder = folder_for_files_of(5, tmp_path / "job")
            expected = (await server.receive(folder / "output")).rpartition("/")[2]
            await connected
            send = server._handle
            await send(HOSTILE, f"/public/gftp/{expected}/UploadChunk", chunk_at(0, b"12345"))
            with pytest.raises(ServiceBusFault, match="more than the 5 bytes"):
                await send(HOSTILE, f"/public/gftp/{expected}/UploadChunk", chunk_at(1, b"23456"))
            (open_file,) = [file for file in opened() if file.startswith(str(folder))]
            shutil.rmtree(tmp_path / "job")
            with pytest.raises(ServiceBusFault, match="not expected any more"):
                await send(HOSTILE, f"/public/gftp/{expected}/UploadChunk", chunk_at(0, b"12345"))
            with pytest.raises(ServiceBusFault, match="not expected any more"):
                await send(HOSTILE, f"/public/gftp/{expected}/UploadFinished", {"hash": "0" * 64})
            assert f"{open_file} (deleted)" in opened()
            await server.receive(folder / "output")
            assert f"{open_file} (deleted)" not in opened()

    asyncio.run(work())


def chunk_at(offset: int, content: bytes) -> dict[str, object]:
    return {"chunk": {"offset": offset, "content": content}}


def opened() -> list[str]:
    """Returns the paths of the files that this process has open."""
    return [os.readlink(path) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]


@pytest.mark.parametrize("kind", ["UploadChunk", "UploadFinished"])
def test_large_messages_are_not_kept(tmp_path: Path, kind: str) -> None:
    message = flexbuffers.encode({"hash": "0" * 3 * MEBIBYTE, "offset": bytes(MEBIBYTE // 2)})

    def calls(address: str) -> list[CallRequest]:
        return [CallRequest(f"0x{n:040x}", f"{address}/{kind}", str(n), message) for n in range(80)]

    peak, _ = attack(tmp_path, "receive", calls, read=False)
    assert peak < 200 * MEBIBYTE
