"""The devnet's image host: an HTTP server on the loopback interface with one small placeholder image.

Providers download it and check its hash as they would a real one, but run tasks on the host's own system. It also
answers a registry's look-ups (`/v1/image/info?tag=|hash=`), for programs that pass `repository_url` to `vm.repo`.
"""

from __future__ import annotations

import hashlib

from aiohttp import web

_NAME = "nima-golem-devnet.gvmi"
_CONTENT = b"nima-golem devnet: tasks run on the host's own system, without an image\n" * 16


class ImageHost:
    """Serves from `start` to `stop`."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/{_NAME}"
        self.sha3 = hashlib.sha3_224(_CONTENT).hexdigest()
        self._port = port
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get(f"/{_NAME}", self._image)
        app.router.add_get("/v1/image/info", self._info)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _image(self, request: web.Request) -> web.Response:
        return web.Response(body=_CONTENT, content_type="application/octet-stream")

    async def _info(self, request: web.Request) -> web.Response:
        return web.json_response({"http": self.url, "https": self.url, "sha3": self.sha3, "size": len(_CONTENT)})
