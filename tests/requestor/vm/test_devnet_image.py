"""Tasks in an image: what they see, what they cannot do, and what of the host they cannot reach."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from exe_unit_activity import AT_END, DEPLOY, START, Activity, activity, sh, with_activity
from tiny_image import CONFIG, make_image

from requestor.devnet.services.image_host import ImageHost
from requestor.devnet.services.ports import Ports
from requestor.image.gvmi import ImageInfo
from requestor.vm.image_cache import ImageCache
from requestor.vm.runtime import TaskMachine

FILES = {"/golem/work/baked": "hidden", "/opt/app/here": "", "/etc/motd": "of the image", "/etc/script": "echo"}
ROOT = Path(__file__).resolve().parents[3]
Use = Callable[[Activity], Awaitable[None]]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> ImageInfo:
    return make_image(tmp_path_factory.mktemp("image"), files=FILES)


@pytest.fixture(scope="module")
def cache(image: ImageInfo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Makes a cache that holds the image, as providers have it from their second task on."""
    folder = tmp_path_factory.mktemp("cache")
    asyncio.run(ImageCache(folder).unpack(image.path))
    (folder / f"tiny_{image.sha3_224}.gvmi").symlink_to(image.path)
    return folder


def package(image: ImageInfo, url: str = "http://127.0.0.1:1/tiny.gvmi") -> str:
    return f"hash:sha3:{image.sha3_224}:{url}"


def in_image(tmp_path: Path, image: ImageInfo, cache: Path, use: Use, **settings: Any) -> None:
    """Deploys and starts the image, then runs `use` on the activity."""

    async def started(found: Activity) -> None:
        for result in await found.run(DEPLOY, START):
            assert result["result"] == "Ok", result
        await use(found)

    with_activity(tmp_path, started, package(image), TaskMachine(images=ImageCache(cache), **settings))


async def output(found: Activity, script: str) -> str:
    result = await found.run_one(sh(script))
    assert result["result"] == "Ok", (script, result)
    return result["stdout"] or ""


def run(*argv: str) -> dict[str, Any]:
    return {"run": {"entry_point": argv[0], "args": list(argv[1:]), "capture": AT_END}}


def test_the_image_is_the_root_and_of_the_host_nothing_is_there(tmp_path: Path, image: ImageInfo, cache: Path):
    (tmp_path / "secret").write_text("the requestor's")

    async def use(found: Activity) -> None:
        assert await output(found, "cat /etc/motd") == "of the image"
        assert set((await output(found, "ls /")).split()) <= {
            *("bin", "dev", "etc", "golem", "lib", "lib64", "opt", "proc", "sys", "tmp", "usr"),
        }
        for path in (tmp_path / "secret", tmp_path, Path.home(), "/etc/passwd", cache, sys.executable, Path(__file__)):
            assert await output(found, f"test -e {path} || echo none") == "none\n", path
        assert await output(found, "cat /etc/resolv.conf") == "nameserver 1.1.1.1\nnameserver 8.8.8.8\n"
        assert await output(found, "hostname") == "golem\n"

    in_image(tmp_path, image, cache, use)


def test_programs_are_executed_without_path_shell_or_environment(tmp_path: Path, image: ImageInfo, cache: Path):
    async def use(found: Activity) -> None:
        for program, errno in (("bash", 2), ("/usr/bin/nowhere", 2), ("/etc/motd", 13), ("/opt", 13)):
            message = (await found.run_one(run(program)))["message"]
            assert message.startswith("Runtime error: "), message
            assert f"exit code: {errno}" in message, program
        # relative to the working directory, with the base name as argv[0]
        result = await found.run_one(run("../../bin/sh", "-c", 'printf "%s|" "$0" "$@"', "a b", "$HOME", "*"))
        assert result["stdout"] == "a b|$HOME|*|"
        assert (await found.run_one(run("/usr/bin/env")))["stdout"] is None
        assert (
            await output(found, "pwd; ls; cat /proc/self/cmdline | tr '\\0' ' '")
            == "/opt/app\nhere\ncat /proc/self/cmdline "
        )

    in_image(tmp_path, image, cache, use)


def test_older_runtimes_give_the_images_environment(tmp_path: Path, image: ImageInfo, cache: Path):
    async def use(found: Activity) -> None:
        result = await found.run_one(run("/usr/bin/env"))
        assert result["stdout"] == "PATH=/usr/bin\nGREETING=hello there\n"

    in_image(tmp_path, image, cache, use, image_environment=True)


def test_the_exit_code_of_a_killed_program_is_the_bare_signal(tmp_path: Path, image: ImageInfo, cache: Path):
    async def use(found: Activity) -> None:
        for script, code in (("exit 42", 42), ("kill -9 $$", 9), ("kill -11 $$", 11)):
            message = (await found.run_one(sh(script)))["message"]
            assert message == f"ExeScript command exited with code {code}"

    in_image(tmp_path, image, cache, use)


def test_volumes_are_the_images_and_empty(tmp_path: Path, image: ImageInfo, cache: Path):
    (tmp_path / "sent").write_text("sent")

    async def use(found: Activity) -> None:
        assert await output(found, "ls -A /golem/work") == "", "what the image holds there is hidden"
        assert (await found.run_one(sh("chown 1000 /golem/work")))["result"] == "Error"
        await output(
            found, "echo kept > /golem/work/a; echo lost > /tmp/a; mkdir -p /golem/store; echo x > /golem/store/a"
        )
        moved = await found.run_one(
            {"transfer": {"from": "container:/golem/work/a", "to": "container:/golem/output/b"}}
        )
        assert moved["result"] == "Ok"
        assert await output(found, "cat /golem/output/b") == "kept\n"
        # only the volumes that the image declares can be reached by transfers; all else is inside the VM
        for path in ("/golem/store/a", "/tmp/a", "/etc/motd"):
            failed = await found.run_one({"transfer": {"from": f"container:{path}", "to": "container:/golem/work/c"}})
            assert f"path not found in container: {path}" in failed["message"]

    in_image(tmp_path, image, cache, use)


def test_the_root_takes_128_mb_and_forgets_them(tmp_path: Path, image: ImageInfo, cache: Path):
    async def use(found: Activity) -> None:
        assert await output(found, "echo changed > /etc/motd; rm /opt/app/here; cat /etc/motd") == "changed\n"
        full = await found.run_one(sh("head -c 140000000 /dev/zero > /var_big"))
        assert "No space left on device" in full["stderr"]
        assert 120e6 < int(await output(found, "stat -c %s /var_big")) < 2**27
        await output(found, "head -c 140000000 /dev/zero > /golem/work/big")

    for name in ("first", "second"):  # a task does not see the changes of another task
        in_image(tmp_path / name, image, cache, use)
    assert (cache / image.sha3_224 / "etc" / "motd").read_text() == "of the image"
    assert (cache / image.sha3_224 / "opt" / "app" / "here").exists()


def test_there_is_no_network(tmp_path: Path, image: ImageInfo, cache: Path):
    with socket.create_server(("127.0.0.1", 0)) as host:
        port = host.getsockname()[1]

        async def use(found: Activity) -> None:
            assert "Connection refused" in await output(found, f"exec 2>&1; cat < /dev/tcp/127.0.0.1/{port} || true")
            assert "Network is unreachable" in await output(found, "exec 2>&1; cat < /dev/tcp/1.1.1.1/53 || true")
            assert await output(found, "wc -l < /proc/net/unix") == "1\n", "no socket of the host is seen"
            assert await output(found, "find / -xdev -type s; ls /run /var/run 2>/dev/null; true") == ""

        in_image(tmp_path, image, cache, use)


def test_processes_and_settings_of_the_host_are_out_of_reach(tmp_path: Path, image: ImageInfo, cache: Path):
    async def use(found: Activity) -> None:
        pids = (await output(found, "for p in /proc/[0-9]*; do echo ${p#/proc/}; done")).split()
        assert str(os.getpid()) not in pids
        assert len(pids) <= 3
        assert await output(found, "cat /proc/1/environ /proc/1/maps 2>/dev/null; readlink /proc/1/fd/*; true") == ""
        assert await output(found, "ls /proc/1/root/ /proc/1/cwd/ 2>/dev/null; true") == ""
        for escape in (
            "echo x > /proc/sys/kernel/hostname",
            "echo x > /proc/sysrq-trigger",
            "mount -o remount,rw /proc",
            "mount -t tmpfs tmpfs /opt",
            "umount -l /proc",
            "unshare --user true",
            "mknod /dev/disk b 254 0",
            "echo x > /sys/devices/system/cpu/cpu0/online",
        ):
            assert (await found.run_one(sh(escape)))["result"] == "Error", escape
        assert await output(found, "kill -9 1; kill -0 1; echo alive") == "alive\n"
        assert (await output(found, "grep Cap /proc/self/status")).split()[1::2] == ["0000000000000000"] * 5

    in_image(tmp_path, image, cache, use)


def test_tasks_of_other_activities_are_out_of_reach(tmp_path: Path, image: ImageInfo, cache: Path):
    async def session() -> None:
        machine = TaskMachine(images=ImageCache(cache))
        async with (
            activity(tmp_path / "one", package(image), machine) as one,
            activity(tmp_path / "two", package(image), machine) as two,
        ):
            for found in (one, two):
                await found.run(DEPLOY, START)
            await one.run_one(sh("echo secret | tee /tmp/x > /golem/work/x; echo secret > /opt/x; sleep 1234 & true"))
            assert await output(two, "ls -A /tmp /golem/work; ls /opt; grep -l sleep /proc/[0-9]*/comm; true") == (
                "/golem/work:\n\n/tmp:\napp\n"
            )

    asyncio.run(session())


def test_memory_and_threads_are_those_offered(tmp_path: Path, image: ImageInfo, cache: Path):
    async def use(found: Activity) -> None:
        assert await output(found, "nproc") == "1\n"
        assert await output(found, "taskset --cpu-list 0-1023 nproc") == "1\n", "nor can it move to others"
        hold = "head -c {0} /dev/zero | tail -c {0} | sleep 1; echo ${{PIPESTATUS[1]}}"  # `tail` keeps it in memory
        ended, killed = "141\n", "137\n"  # the shell's codes for signals: 128 + SIGPIPE, 128 + SIGKILL
        assert await output(found, hold.format(60_000_000)) == ended
        assert await output(found, hold.format(200_000_000)) == killed
        three = f"for i in 1 2 3; do ({hold.format(60_000_000)}) & done; wait"
        assert killed in await output(found, three), "what counts is the sum of all processes"
        alone = await found.run_one(sh("exec tail -c 200000000 <(head -c 200000000 /dev/zero)"))
        assert alone["message"] == "ExeScript command exited with code 9"
        assert (await found.run_one(sh("ulimit -d unlimited")))["result"] == "Error"
        full = await found.run_one(sh("head -c 80000000 /dev/zero > /tmp/big"))
        assert "No space left on device" in full["stderr"], "/tmp is half of the memory"
        assert await output(found, hold.format(80_000_000)) == killed, "what lies in /tmp takes memory"

    in_image(tmp_path, image, cache, use, memory=128 * 2**20, threads=1)


def test_nothing_that_runs_outlives_the_activity(tmp_path: Path, image: ImageInfo, cache: Path):
    marker = f"7{os.getpid()}"

    async def use(found: Activity) -> None:
        await output(found, f"sleep {marker} & exec 2>&1; echo started")
        assert marker in _command_lines()

    in_image(tmp_path, image, cache, use)
    assert marker not in _command_lines()
    assert not list((tmp_path / "activity").glob("*"))


def test_the_entrypoint_runs_only_if_asked_for(tmp_path: Path):
    image = make_image(
        tmp_path, {**CONFIG, "Entrypoint": ["/bin/sh", "-c"], "Cmd": ["echo ran > /golem/work/ran"]}, FILES
    )

    async def use(found: Activity) -> None:
        await found.run(DEPLOY, START)
        assert await output(found, "sleep 0.2; ls /golem/work") == ""
        await found.run({"terminate": {}}, DEPLOY, {"start": {"args": ["start-entrypoint"]}})
        assert await output(found, "until test -s /golem/work/ran; do sleep 0.05; done; cat /golem/work/ran") == "ran\n"

    machine = TaskMachine(images=ImageCache(tmp_path / "cache"))
    serve_and(tmp_path, image, lambda url: with_activity_of(tmp_path, use, package(image, url), machine))


def serve_and(folder: Path, image: ImageInfo, use: Callable[[str], Awaitable[None]]) -> None:
    async def session() -> None:
        with Ports() as ports:
            host = ImageHost(ports.take(), image)
            await host.start()
            try:
                await use(host.url)
            finally:
                await host.stop()

    asyncio.run(session())


async def with_activity_of(folder: Path, use: Use, task_package: str, machine: TaskMachine) -> None:
    async with activity(folder / "provider", task_package, machine) as found:
        await use(found)


def test_the_download_is_billed(tmp_path: Path, image: ImageInfo):
    async def serve(request: web.Request) -> web.StreamResponse:
        if request.method == "GET":
            await asyncio.sleep(2.2)
        return web.FileResponse(image.path)

    async def session() -> None:
        app = web.Application()
        app.router.add_get("/tiny.gvmi", serve)
        runner = web.AppRunner(app)
        await runner.setup()
        with Ports() as ports:
            port = ports.take()
            await web.TCPSite(runner, "127.0.0.1", port).start()
            machine = TaskMachine(images=ImageCache(tmp_path / "cache"))
            task_package = package(image, f"http://127.0.0.1:{port}/tiny.gvmi")
            async with activity(tmp_path / "provider", task_package, machine) as found:
                assert (await found.run_one(DEPLOY))["result"] == "Ok"
                _, duration = found.unit.usage()
                assert duration >= 1, "as it was reported last"
        await runner.cleanup()

    asyncio.run(session())


def test_an_image_is_downloaded_and_unpacked_once_for_all_providers(tmp_path: Path, image: ImageInfo):
    asked: list[str] = []

    async def serve(request: web.Request) -> web.StreamResponse:
        asked.append(request.method)
        return web.FileResponse(image.path)

    async def session() -> None:
        app = web.Application()
        app.router.add_get("/tiny.gvmi", serve)
        runner = web.AppRunner(app)
        await runner.setup()
        with Ports() as ports:
            port = ports.take()
            await web.TCPSite(runner, "127.0.0.1", port).start()

            async def provider(name: str) -> str:
                machine = TaskMachine(images=ImageCache(tmp_path / "cache"))
                task_package = package(image, f"http://127.0.0.1:{port}/tiny.gvmi")
                async with activity(tmp_path / name, task_package, machine) as found:
                    await found.run(DEPLOY, START)
                    return await output(found, "cat /etc/motd")

            assert await asyncio.gather(*map(provider, "abc")) == ["of the image"] * 3
        await runner.cleanup()

    asyncio.run(session())
    assert asked == ["HEAD", "GET"]
    assert {path.name for path in (tmp_path / "cache").iterdir()} == {
        *("lock", image.sha3_224, f"tiny_{image.sha3_224}.gvmi"),
    }


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"WorkingDir": "/nowhere"}, "exit code: 2"),
        ({"Volumes": {"/link/work": {}}}, "/link/work cannot be mounted: it runs through a symbolic link"),
    ],
)
def test_an_image_that_cannot_work_says_why(tmp_path: Path, config: dict[str, Any], message: str):
    outside = tmp_path / "outside"
    outside.mkdir()
    image = make_image(tmp_path, {**CONFIG, **config}, FILES, links={"/link": str(outside)})

    async def use(found: Activity) -> None:
        results = await found.run(DEPLOY, START, sh("true"))
        assert message in results[-1]["message"]

    machine = TaskMachine(images=ImageCache(tmp_path / "cache"))
    serve_and(tmp_path, image, lambda url: with_activity_of(tmp_path, use, package(image, url), machine))
    assert list(outside.iterdir()) == [], "a link in the image leads nowhere on the host"


def test_links_in_an_image_lead_nowhere_on_the_host(tmp_path: Path):
    """The devnet may run as root on the host, where it could easily overwrite a file that such a link names."""
    target = tmp_path / "hosts"
    target.write_text("the host's")
    image = make_image(tmp_path, files=FILES, links={"/etc/hosts": str(target), "/tmp": str(tmp_path)})

    async def use(found: Activity) -> None:
        await found.run(DEPLOY, START)
        await found.run_one(sh("echo x > /etc/hosts; echo x > /tmp/new; true"))

    machine = TaskMachine(images=ImageCache(tmp_path / "cache"))
    serve_and(tmp_path, image, lambda url: with_activity_of(tmp_path, use, package(image, url), machine))
    assert target.read_text() == "the host's"
    assert not (tmp_path / "new").exists()


def test_a_file_that_is_no_image_is_refused_at_deploy(tmp_path: Path):
    image = make_image(tmp_path, files=FILES)
    broken = bytearray(image.path.read_bytes())
    broken[-20] ^= 1  # in the container config
    image.path.write_bytes(broken)
    digest = hashlib.sha3_224(broken).hexdigest()

    async def use(found: Activity) -> None:
        (result,) = await found.run(DEPLOY)
        assert "checksum of its container config is wrong" in result["stderr"]
        assert result["message"] == "ExeScript command exited with code 1"

    machine = TaskMachine(images=ImageCache(tmp_path / "cache"))
    serve_and(tmp_path, image, lambda url: with_activity_of(tmp_path, use, f"hash:sha3:{digest}:{url}", machine))


@pytest.mark.skipif(os.geteuid() != 0, reason="without root, every other test shows it")
def test_it_works_without_root(image: ImageInfo):
    """Runs as nobody, with the system's own Python, on a copy of the sandbox that nobody may read."""
    python = next((path for path in ("/usr/bin/python3", "/usr/local/bin/python3") if os.path.exists(path)), None)
    probe = [python or "", "-c", "import sys; sys.exit(sys.version_info < (3, 10))"]
    if python is None or subprocess.run(probe, check=False).returncode != 0 or not shutil.which("setpriv"):
        pytest.skip("needs setpriv, and a Python of the system from 3.10 on")
    with tempfile.TemporaryDirectory(dir="/tmp", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "requestor" / "vm").mkdir(parents=True)
        (folder / "nima").mkdir()
        ours = [
            f"requestor/{module}" for module in ("__init__", "errors", "vm/__init__", "vm/sandbox", "vm/sandbox_init")
        ]
        for module in ("nima/__init__", "nima/lazy", *ours):
            shutil.copy(ROOT / f"{module}.py", folder / f"{module}.py")
        (folder / "program.py").write_text(WITHOUT_ROOT)
        shutil.copy(image.path, folder / "image")
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o777)
        as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        unpack = ["unshare", "--user", "--", "unsquashfs", "-no-progress", "-no-xattrs", "-dest", "root", "image"]
        if subprocess.run([*as_nobody, "unshare", "--user", "true"], check=False).returncode != 0:
            pytest.skip("needs user namespaces for everybody")
        subprocess.run([*as_nobody, *unpack], cwd=folder, check=True, capture_output=True)
        command = [*as_nobody, python, "program.py"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout, done.stderr) == ("0\n/opt/app\nchanged\n134217728\n", "")


WITHOUT_ROOT = """
import asyncio
from pathlib import Path
from requestor.vm.sandbox import SandboxLayout, Program, Sandbox

async def main():
    here = Path.cwd()
    (here / "mount").mkdir()
    (here / "volume").mkdir()
    layout = SandboxLayout.of_image(here / "root", {"/golem/work": here / "volume"}, memory=2**28, threads=1)
    sandbox = await Sandbox.boot(layout, here / "mount")
    script = (
        "id -u; pwd; echo changed > /etc/motd; cat /etc/motd > /golem/work/motd;"
        "stat -f -c '%b*%S' / > /golem/work/size"
    )
    def show(data):
        print(data.decode(), end="")
    assert await sandbox.run(Program(("/bin/sh", "-c", script), "/opt/app"), show, show) == 0
    await sandbox.stop()
    print((here / "volume" / "motd").read_text(), end="")
    print(eval((here / "volume" / "size").read_text()))

asyncio.run(main())
"""


def _command_lines() -> str:
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_text(errors="replace"))
        except OSError:
            continue
    return "\n".join(lines)
