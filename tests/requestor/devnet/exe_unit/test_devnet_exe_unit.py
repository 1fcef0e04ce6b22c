"""An exe-unit over a real service bus, in a real sandbox: states, results, captures, transfers, as on a provider."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from exe_unit_activity import DEPLOY, START, Activity, activity, sh, with_activity

from requestor.devnet.services.ports import Ports
from requestor.golem.bus.calls import ServiceBusError, ServiceBusFault
from requestor.vm.runtime import DEFAULT_VOLUMES

NOT_FOUND = "no such page"


def test_a_script_from_deploy_to_terminate(tmp_path: Path):
    async def use(found: Activity) -> None:
        assert await found.state() == ["Initialized", None]
        deployed, started, ran = await found.run(DEPLOY, START, sh("echo out; echo err >&2"))
        deployment = json.loads(deployed["stdout"])
        assert {volume["path"] for volume in deployment["vols"]} == set(DEFAULT_VOLUMES)
        assert deployment["startMode"] == "blocking"
        assert [result["result"] for result in (deployed, started, ran)] == ["Ok"] * 3
        assert (ran["stdout"], ran["stderr"], ran["message"], ran["isBatchFinished"]) == ("out\n", "err\n", None, True)
        assert not deployed["isBatchFinished"]
        assert await found.state() == ["Ready", None]

        # terminate stops the runtime; after that, the same batch may deploy again
        results = await found.run({"terminate": {}}, DEPLOY, START)
        assert [result["result"] for result in results] == ["Ok"] * 3
        assert [state["state"] for state in found.states[:8]] == [
            ["Initialized", None],
            ["Initialized", "Deployed"],
            ["Deployed", None],
            ["Deployed", "Ready"],
            ["Ready", None],
            ["Ready", "Ready"],
            ["Ready", None],
            ["Initialized", None],
        ]

    with_activity(tmp_path, use)


def test_the_end_is_reported_with_what_was_done_and_leaves_nothing(tmp_path: Path):
    async def use(found: Activity) -> None:
        await found.run(DEPLOY, START)
        await found.exec(sh("sleep 1000"), sh("true"))
        await asyncio.sleep(0.2)
        await found.unit.stop()
        assert found.states[-2]["state"] == ["Ready", "Terminated"]
        assert found.states[-1] == {
            "state": ["Terminated", None],
            "reason": "Interrupted by signal: 15: "
            '{"batches_done":1,"batches_pending":1,"cmds_done":2,"cmds_pending":2}',
        }
        assert not found.folder.exists()
        with pytest.raises(ServiceBusError, match="endpoint address not found"):
            await found.state()

    with_activity(tmp_path, use)


def test_commands_out_of_turn_fail_with_the_exe_units_own_words(tmp_path: Path):
    transfer = {"transfer": {"from": "container:/golem/work/a", "to": "container:/golem/work/b"}}

    async def use(found: Activity) -> None:
        async def message(command: dict[str, Any]) -> str:
            result = await found.run_one(command)
            assert result["result"] == "Error"
            return result["message"].removeprefix("Local service error: State error: ")

        for command in (START, sh("true"), transfer):
            assert await message(command) == "Activity is initialized - deploy() command is expected now"
        await found.run(DEPLOY)
        for command in (DEPLOY, sh("true"), transfer):
            assert await message(command) == "Activity is deployed - start() command is expected now"
        await found.run(START)
        for command in (DEPLOY, START):
            assert await message(command) == "Cannot send command after a successful start()"
        assert "signing not supported" in await message({"sign": {}})

    with_activity(tmp_path, use)


def test_the_state_advances_even_where_a_command_fails(tmp_path: Path):
    async def use(found: Activity) -> None:
        (failed,) = await found.run({"deploy": {"volumes": ["relative"]}})
        assert (failed["result"], failed["message"]) == ("Error", "ExeScript command exited with code 1")
        assert await found.state() == ["Deployed", None]
        failed = await found.run_one({"start": {"args": ["start-entrypoint"]}})
        assert failed["message"] == "Runtime error: the image has no entrypoint"
        assert await found.state() == ["Ready", None]

    with_activity(tmp_path, use)


def test_overlapping_batches_do_not_queue_but_fail(tmp_path: Path):
    async def use(found: Activity) -> None:
        await found.run(DEPLOY, START)
        first = await found.exec(sh("sleep 0.5; echo first"))
        second = await found.run_one(sh("echo second"))
        assert second["message"] == "Local service error: State error: Busy: StatePair(Ready, Some(Ready))"
        (running,) = await found.call("GetRunningCommand")
        assert (running["command"], running["params"][:2]) == ("Run", ["/bin/sh", "-c"])
        assert (await found.results(first))[0]["stdout"] == "first\n"
        with pytest.raises(ServiceBusFault):
            await found.call("GetRunningCommand")

    with_activity(tmp_path, use)


def test_terminate_stops_what_another_batch_runs(tmp_path: Path):
    async def use(found: Activity) -> None:
        await found.run(DEPLOY, START)
        first = await found.exec(sh("sleep 1000"), sh("echo never"))
        await asyncio.sleep(0.1)
        assert (await found.run_one({"terminate": {}}))["result"] == "Ok"
        (stopped,) = await found.results(first, 0.5)
        assert stopped["message"] == "ExeScript command exited with code 1"
        assert await found.state() == ["Initialized", None]

    with_activity(tmp_path, use)


def test_exit_codes_and_what_cannot_be_executed(tmp_path: Path):
    async def use(found: Activity) -> None:
        await found.run(DEPLOY, START)
        assert (await found.run_one(sh("exit 42")))["message"] == "ExeScript command exited with code 42"
        assert (await found.run_one(sh("kill -9 $$")))["message"] == "ExeScript command exited with code 9"
        missing = await found.run_one({"run": {"entry_point": "python3", "args": []}})
        assert missing["message"] == (
            'Runtime error: Error { code: Internal, message: "Running process failed, exit code: 2", context: {} }'
        )
        results = await found.run(sh("false"), sh("true"))
        assert [(result["result"], result["isBatchFinished"]) for result in results] == [("Error", True)]

    with_activity(tmp_path, use)


def test_output_is_kept_only_as_asked(tmp_path: Path):
    async def use(found: Activity) -> None:
        await found.run(DEPLOY, START)
        nothing = await found.run_one(sh("echo out; echo err >&2", None))
        assert (nothing["stdout"], nothing["stderr"]) == (None, None)
        empty = await found.run_one(sh("true"))
        assert (empty["stdout"], empty["stderr"]) == (None, None)
        tail = await found.run_one(sh("seq 100", {"stdout": {"atEnd": {"tail": 7}}}))
        assert (tail["stdout"], tail["stderr"]) == ("99\n100\n", None)
        binary = await found.run_one(sh("printf '\\001\\377'", {"stdout": {"atEnd": {"format": "bin"}}}))
        assert binary["stdout"] == [1, 255]

    with_activity(tmp_path, use)


def test_polling(tmp_path: Path):
    async def use(found: Activity) -> None:
        batch = await found.exec(DEPLOY, START, sh("echo one"), sh("sleep 0.5; echo two"), sh("false"), sh("true"))
        at_two = await found.results(batch, index=2)
        assert [result["stdout"] for result in at_two] == [None, None, "one\n"], "only the asked one's output"
        assert at_two[-1]["isBatchFinished"], "although the batch goes on"
        assert await found.results(batch, timeout=0) == await found.results(batch, timeout=0)
        with pytest.raises(ServiceBusFault) as raised:
            await found.results(batch, timeout=0.1, index=3)
        assert raised.value.payload == "timeout"
        await found.results(batch, index=4)
        before = asyncio.get_running_loop().time()
        assert len(await found.results(batch, timeout=0.3)) == 5
        assert asyncio.get_running_loop().time() - before >= 0.3, "after a failure the poll waits out its time"
        with pytest.raises(ServiceBusFault):
            await found.results(batch, timeout=0.1, index=5)
        with pytest.raises(ServiceBusFault) as raised:
            await found.results("unknown")
        assert raised.value.payload == {"notFound": "batch_id = unknown"}
        assert await found.results(await found.exec()) == []

    with_activity(tmp_path, use)


def test_bad_requests(tmp_path: Path):
    async def use(found: Activity) -> None:
        batch = await found.exec(DEPLOY)
        with pytest.raises(ServiceBusFault) as raised:
            await found.call("Exec", batchId=batch, exeScript=[DEPLOY], timeout=None)
        assert raised.value.payload == {"badRequest": f"Batch {batch} already exists"}
        for script in (
            [{"dance": {}}],
            ["run"],
            [{"run": {"entry_point": "/bin/sh", "capture": {"stdout": {"x": 1}}}}],
            5,
        ):
            with pytest.raises(ServiceBusFault):
                await found.call("Exec", batchId="bad", exeScript=script, timeout=None)
        with pytest.raises(ServiceBusFault) as raised:
            await found.call("GetActivityState", activityId="another")
        assert raised.value.payload == {"service": "Forbidden! Invalid activity id: another"}

    with_activity(tmp_path, use)


def test_streamed_results(tmp_path: Path):
    capture = {"stdout": {"stream": {}}, "stderr": {"stream": {}}}

    async def use(found: Activity) -> None:
        await found.run(DEPLOY, START)
        batch = await found.exec(sh("sleep 0.2; echo out; sleep 0.1; echo err >&2; exit 3", capture), sh("true"))
        events = await found.events(batch)
        assert [event["kind"] for event in events] == [
            {"stdout": "out\n"},
            {"stderr": "err\n"},
            {"finished": {"return_code": 3, "message": "ExeScript command exited with code 3"}},
        ]
        assert {(event["batch_id"], event["index"]) for event in events} == {(batch, 0)}
        assert await found.events(batch) == [], "what is past is not told again"

    with_activity(tmp_path, use)


def test_usage_is_reported_every_second_from_the_start(tmp_path: Path):
    async def use(found: Activity) -> None:
        await found.run(DEPLOY, START)
        assert (await found.run_one(sh("i=0; while [ $i -lt 1200000 ]; do i=$((i+1)); done")))["result"] == "Ok"
        await asyncio.sleep(1.1)
        await found.unit.stop()
        vectors = [usage["currentUsage"] for usage in found.usages]
        assert len(vectors) >= 3
        cpu, duration = zip(*vectors, strict=True)
        assert list(cpu) == sorted(cpu)
        assert list(duration) == sorted(duration)
        assert 1 <= cpu[-1] <= duration[-1] + 1
        assert found.unit.usage() == vectors[-1], "what is billed is what was reported last"

    with_activity(tmp_path, use)


def test_volumes_are_empty_and_deploy_may_add_some(tmp_path: Path):
    async def use(found: Activity) -> None:
        deploy = {"deploy": {"volumes": {"/data": {"host": {}}, "/fast": {"ram": {"size": "1MiB"}}}}}
        deployed, *_ = await found.run(deploy, START)
        paths = {volume["path"] for volume in json.loads(deployed["stdout"])["vols"]}
        assert paths == {*DEFAULT_VOLUMES, "/data"}, "files move into volumes of the host only"
        listed = await found.run_one(sh("ls -A /golem/work /data /fast; echo x > /data/y"))
        assert listed["stdout"] == "/data:\n\n/fast:\n\n/golem/work:\n"
        copied = await found.run_one({"transfer": {"from": "/data/y", "to": "container:/golem/output/z/y"}})
        assert copied["result"] == "Ok"
        assert (await found.run_one(sh("cat /golem/output/z/y")))["stdout"] == "x\n"
        refused = await found.run_one({"transfer": {"from": "/data/y", "to": "/fast/y"}})
        assert refused["message"] == (
            "Local service error: Transfer error: IO error: path not found in container: /fast/y"
        )

    with_activity(tmp_path, use)


@contextlib.asynccontextmanager
async def files_over_http(folder: Path) -> AsyncIterator[str]:
    """Serves the files of `folder` over HTTP; other paths give a 404 with a page, and PUT gives a 403."""

    async def refuse(request: web.Request) -> web.Response:
        raise web.HTTPForbidden

    async def not_found(request: web.Request) -> web.Response:
        return web.Response(status=404, text=NOT_FOUND)

    app = web.Application()
    app.router.add_put("/{name}", refuse)
    app.router.add_get("/missing", not_found)
    app.router.add_static("/", folder)
    runner = web.AppRunner(app)
    await runner.setup()
    with Ports() as ports:
        port = ports.take()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield f"http://127.0.0.1:{port}"
        await runner.cleanup()


def test_http_transfers_and_their_traps(tmp_path: Path):
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "file").write_bytes(b"0123456789")
    digest = hashlib.sha3_256(b"0123456789").hexdigest()

    async def use(found: Activity) -> None:
        async with files_over_http(tmp_path / "www") as url:
            await found.run(DEPLOY, START)

            async def fetched(source: str, name: str) -> str | None:
                moved = await found.run_one({"transfer": {"from": source, "to": f"container:/golem/input/{name}"}})
                if moved["result"] == "Error":
                    return moved["message"].removeprefix("Local service error: Transfer error: ")
                return (await found.run_one(sh(f"cat /golem/input/{name}")))["stdout"]

            assert await fetched(f"{url}/file", "new") == "0123456789"
            assert await fetched(f"{url}/missing", "page") == NOT_FOUND, "the status is not looked at"
            await found.run_one(sh("cd /golem/input; printf abc > part; printf abcdefghijklmno > long; cp part hashed"))
            assert await fetched(f"{url}/file", "part") == "abc3456789", "a shorter file is continued"
            assert await fetched(f"{url}/file", "long") == "abcdefghijklmno", "a longer one is left as it is"
            assert await fetched(f"hash:sha3:{digest}:{url}/file", "hashed") == "0123456789", "with a hash, all anew"
            assert await fetched(f"hash:sha3:{digest}:{url}/missing", "wrong") == (
                "Incorrect hash provided or downloaded image is corrupted: calculated hash "
                f"{hashlib.sha3_256(NOT_FOUND.encode()).hexdigest()} differs from the expected one {digest}"
            )
            put = await found.run_one({"transfer": {"from": "/golem/input/new", "to": f"{url}/new"}})
            assert put["message"].endswith("Transfer error: HTTP error: client error: 403 Forbidden")

    with_activity(tmp_path, use)


@pytest.mark.parametrize(
    ("source", "destination", "message"),
    [
        ("file:/etc/passwd", "container:/golem/work/x", "Unsupported scheme: file"),
        ("container:/etc/passwd", "container:/golem/work/x", "IO error: path not found in container: /etc/passwd"),
        ("container:/golem/work/a", "container:/tmp/x", "IO error: path not found in container: /tmp/x"),
        ("container:/golem/workshop", "/golem/work/x", "IO error: path not found in container: /golem/workshop"),
        ("/golem/work/a", "/golem/work//x", "IO error: invalid path format: [/golem/work//x]"),
        (
            "/golem/work/a/../../x",
            "/golem/work/x",
            "IO error: path not found in container: /golem/work/a/../../x",
        ),
        (
            "/golem/work/a/%2e%2e/../x",
            "/golem/work/x",
            "IO error: path not found in container: /golem/work/a/../../x",
        ),
        ("/golem/work/missing", "/golem/work/x", "IO error: No such file or directory (os error 2)"),
        ("/golem/work/folder", "/golem/work/x", "IO error: Is a directory (os error 21)"),
        ("/golem/work/pipe", "/golem/work/x", "IO error: Is a directory (os error 21)"),
        ("/golem/work/link", "/golem/work/x", "IO error: Too many levels of symbolic links (os error 40)"),
        ("/golem/work/out/passwd", "/golem/work/x", "IO error: Not a directory (os error 20)"),
        ("/golem/work/a", "/golem/work/out/nima-golem-test", "IO error: Not a directory (os error 20)"),
        ("hash:md5:00ff:http://127.0.0.1/", "/golem/work/x", "Unsupported digest: Unsupported digest: md5"),
        ("", "/golem/work/x", "Invalid url: Empty URL"),
    ],
)
def test_paths_stay_in_their_volumes(tmp_path: Path, source: str, destination: str, message: str):
    """A task may lay out its volumes as it likes, but its symbolic links lead the provider to no file of the host."""

    async def use(found: Activity) -> None:
        traps = "cd /golem/work; echo a > a; mkdir folder; mkfifo pipe; ln -s /etc/passwd link; ln -s /etc out"
        await found.run(DEPLOY, START, sh(traps))
        moved = await found.run_one({"transfer": {"from": source, "to": destination}})
        assert moved["message"] == f"Local service error: Transfer error: {message}"

    with_activity(tmp_path, use)
    assert not Path("/etc/nima-golem-test").exists()


def test_folders_are_not_packed(tmp_path: Path):
    async def use(found: Activity) -> None:
        await found.run(DEPLOY, START, sh("mkdir /golem/work/folder"))
        packed = {"from": "/golem/work/folder", "to": "/golem/work/x.tar.gz", "format": "tar.gz"}
        moved = await found.run_one({"transfer": packed})
        assert moved["message"].endswith("IO error: Is a directory (os error 21)")

    with_activity(tmp_path, use)


def test_the_image_is_downloaded_once_and_checked(tmp_path: Path):
    (tmp_path / "www").mkdir()
    image = tmp_path / "www" / "image.gvmi"
    image.write_bytes(b"an image")
    digest = hashlib.sha3_224(b"an image").hexdigest()

    async def session() -> None:
        async with files_over_http(tmp_path / "www") as url:

            async def deploy(package: str, folder: str) -> str | None:
                async with activity(tmp_path / folder, package) as found:
                    return (await found.run_one(DEPLOY))["message"]

            package = f"hash:sha3:{digest}:{url}/image.gvmi"
            assert await deploy(package, "first") is None
            (cached,) = (tmp_path / "first" / "cache").iterdir()
            assert cached.name == f"image_{digest}.gvmi"
            image.unlink()
            assert await deploy(package, "first") is None, "from the cache"
            assert (await deploy(package, "second") or "").startswith(
                "Local service error: Transfer error: Incorrect hash provided or downloaded image is corrupted"
            )
            assert await deploy(f"{url}/image.gvmi", "third") == (
                "Local service error: Transfer error: Invalid url: Missing hash"
            )

    asyncio.run(session())
