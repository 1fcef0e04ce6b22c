"""Serves one image over HTTP on the loopback interface, as the devnet's image host.

The image is the one that the devnet was started with, or else a small placeholder: providers download it and check its
hash as they would with a real image, but run tasks on the host's own system. The server also answers the look-ups of a
registry (`/v1/image/info?tag=|hash=`), for programs that pass `repository_url` to `vm.repo`.
"""

from __future__ import annotations

import hashlib
from urllib.parse import quote

from aiohttp import web

from requestor.image import ImageInfo

_NAME = "nima-golem-devnet.gvmi"
_CONTENT = b"nima-golem devnet: tasks run on the host's own system, without an image\n" * 16


class ImageHost:
    """Serves the image from `start` until `stop`.

    Attributes:
        url: the address of the image.
        sha3: its SHA3-224, in hexadecimal digits.
        size: its number of bytes.
    """

    def __init__(self, port: int, image: ImageInfo | None = None) -> None:
        self._port, self._image = port, image
        self._path = f"/{quote(image.path.name)}" if image else f"/{_NAME}"
        self.url = f"http://127.0.0.1:{port}{self._path}"
        self.sha3 = image.sha3_224 if image else hashlib.sha3_224(_CONTENT).hexdigest()
        self.size = image.size if image else len(_CONTENT)
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Begins to serve. Raises OSError if the port is taken."""
        app = web.Application()
        app.router.add_get("/v1/image/info", self._info)
        app.router.add_get("/{name}", self._serve)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()

    async def stop(self) -> None:
        """Stops serving."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        if request.rel_url.raw_path != self._path:
            raise web.HTTPNotFound
        if self._image is not None:
            return web.FileResponse(self._image.path, headers={"Content-Type": "application/octet-stream"})
        return web.Response(body=_CONTENT, content_type="application/octet-stream")

    async def _info(self, request: web.Request) -> web.Response:
        return web.json_response({"http": self.url, "https": self.url, "sha3": self.sha3, "size": self.size})
