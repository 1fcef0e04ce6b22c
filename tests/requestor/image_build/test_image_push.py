"""Golem's own uploader, run against a registry on this machine that behaves as Golem's does."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web
from click.testing import CliRunner
from image_labels import labels_of_this_version
from superblock import squashfs

from requestor.commands.main import main
from requestor.errors import ImageError, ImageMismatch
from requestor.image.gvmi import write_image
from requestor.image_build.push import push_image

needs_uploader = pytest.mark.skipif(shutil.which("gvmkit-build") is None, reason="needs gvmkit-build")


@dataclass
class Registry:
    """Accepts one image (gvmkit-build-rs, `upload.rs`)."""

    url: str = ""
    descriptor: bytes = b""
    chunks: dict[int, bytes] = field(default_factory=dict)
    tags: list[str] = field(default_factory=list)

    def application(self) -> web.Application:
        app = web.Application(client_max_size=2**30)
        app.router.add_get("/v1/image/descr/{sha256}", self.state)
        app.router.add_post("/v1/image/push/{what}", self.push)
        app.router.add_post("/v1/image/descr/attach/{sha256}", self.attach)
        app.router.add_post("/auth/pat/login", self.login)
        return app

    async def state(self, request: web.Request) -> web.Response:
        if hashlib.sha256(self.descriptor).hexdigest() != request.match_info["sha256"]:
            return web.json_response({"descriptor": "unknown"})
        return web.json_response({"descriptor": "ok", "status": "full" if self.chunks else "incomplete"})

    async def push(self, request: web.Request) -> web.Response:
        form = await request.post()
        file = form["file"]
        assert isinstance(file, web.FileField)
        if request.match_info["what"] == "descr":
            self.descriptor = file.file.read()
        else:
            self.chunks[int(str(form["chunk-pos"]))] = file.file.read()
        return web.Response()

    async def attach(self, request: web.Request) -> web.Response:
        form = await request.post()
        if "check" not in form:
            self.tags.append("{username}/{repository}:{tag}".format(**form))
        return web.Response()

    async def login(self, request: web.Request) -> web.Response:
        said = await request.json()
        return web.Response(status=200 if said == {"username": "me", "password": "token"} else 401)


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    registry = Registry()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def start() -> web.AppRunner:
        runner = web.AppRunner(registry.application())
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        registry.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        return runner

    runner = asyncio.run_coroutine_threadsafe(start(), loop).result()
    monkeypatch.setenv("REGISTRY_URL", registry.url)
    yield registry
    asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def image(folder: Path) -> Path:
    (folder / "root.squashfs").write_bytes(squashfs(bytes(range(256)) * 20_000))
    return write_image(folder / "root.squashfs", {"Labels": labels_of_this_version()}, folder / "provider.gvmi").path


@needs_uploader
def test_an_anonymous_push_names_where_providers_find_the_image(registry: Registry, tmp_path: Path) -> None:
    path = image(tmp_path)
    content = path.read_bytes()
    package = push_image(path, None)
    assert b"".join(registry.chunks[start] for start in sorted(registry.chunks)) == content
    digest, descriptor = hashlib.sha3_224(content).hexdigest(), hashlib.sha256(registry.descriptor).hexdigest()
    assert package == f"hash:sha3:{digest}:{registry.url}/download/{descriptor}"
    assert registry.tags == []
    assert {file.name for file in tmp_path.iterdir()} == {"root.squashfs", "provider.gvmi"}


@needs_uploader
def test_a_push_with_an_account_gives_the_image_its_tag(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGISTRY_USER", "me")
    monkeypatch.setenv("REGISTRY_TOKEN", "token")
    push_image(image(tmp_path), "me/nima-golem:0.1.0")
    assert registry.chunks
    assert registry.tags == ["me/nima-golem:0.1.0"]


@needs_uploader
def test_a_push_that_the_registry_refuses_fails(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGISTRY_USER", "me")
    monkeypatch.setenv("REGISTRY_TOKEN", "wrong")
    with pytest.raises(ImageError, match="did not push"):
        push_image(image(tmp_path), "me/nima-golem:0.1.0")
    assert registry.chunks == {}


def test_without_the_uploader_the_way_out_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    done = CliRunner().invoke(main, ["image", "push", str(image(tmp_path)), "--anonymous"])
    assert done.exit_code == 1
    assert "pip install gvmkit-build" in done.stderr
    assert done.stdout == ""


@needs_uploader
def test_an_image_of_something_else_is_not_pushed(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "root.squashfs").write_bytes(squashfs())
    other = write_image(tmp_path / "root.squashfs", {}, tmp_path / "other.gvmi").path
    with pytest.raises(ImageMismatch):
        push_image(other, None)
    assert registry.descriptor == b""
