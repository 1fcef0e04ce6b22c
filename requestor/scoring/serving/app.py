"""Serves scores over HTTP: `POST /score` scores a photo, `GET /` returns a page for people, `GET /health` a status."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import math
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from aiohttp import BodyPartReader, web

from nima.photos import PhotoError, photo_size
from requestor.html_templates import templates_of
from requestor.scoring.serving.access import RateLimit, comes_from_another_site, host_is_ours
from requestor.scoring.serving.scoring_thread import ScoringThread

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_CHUNK = 1 << 16


@dataclass(frozen=True)
class ServiceLimits:
    """Holds the limits of one service.

    max_bytes: largest size of a photo's file, in bytes.
    max_pixels: largest number of a photo's pixels; it is checked before the photo is decoded.
    rate: photos a second from one address, on average.
    max_waiting: number of photos, from all addresses, that may wait at the same time.
    upload_seconds: seconds within which a whole photo must arrive.
    """

    max_bytes: int = 30_000_000
    max_pixels: int = 60_000_000
    rate: float = 20
    max_waiting: int = 32
    upload_seconds: float = 60


class Refused(Exception):
    """A request is answered with an error instead of a score.

    status: the HTTP status.
    retry_after: seconds after which a retry may help; None if no retry helps.
    """

    def __init__(self, status: int, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after


class ScoringService:
    """Holds the request handlers and their shared state.

    Args:
        model: name of the model, for `GET /health`.
        thread: scores the photos.
        limits: the limits of the service.
        loopback: True if the service listens on loopback only.
        names: further host names under which the service is reached.
    """

    def __init__(
        self, model: str, thread: ScoringThread, limits: ServiceLimits, *, loopback: bool, names: frozenset[str]
    ) -> None:
        self._model = model
        self._thread = thread
        self._limits = limits
        self._loopback = loopback
        self._names = names
        self._rate = RateLimit(limits.rate)
        self._waiting = 0
        self._page = templates_of("requestor.scoring.serving").get_template("page.html").render()
        self._headers = {
            "Content-Security-Policy": _policy(self._page),
            "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-store",
        }

    def app(self) -> web.Application:
        """Makes the application with all routes."""
        app = web.Application(middlewares=[self._guard])
        app.router.add_get("/", self.page)
        app.router.add_get("/health", self.health)
        app.router.add_post("/score", self.score)
        return app

    async def page(self, request: web.Request) -> web.Response:
        """Returns the page for people."""
        return web.Response(text=self._page, content_type="text/html")

    async def health(self, request: web.Request) -> web.Response:
        """Returns the status, the model, and the number of photos that wait, as JSON."""
        return web.json_response({"status": "ok", "model": self._model, "waiting": self._waiting})

    async def score(self, request: web.Request) -> web.Response:
        """Scores a photo, which is the whole body or the first part of a form, and returns its row as JSON.

        The status is 422 if the photo cannot be scored. Raises `Refused` if a limit is exceeded or no photo arrives.
        """
        if self._waiting >= self._limits.max_waiting:
            raise Refused(503, f"{self._waiting} photos are waiting already.", 1)
        wait = self._rate.wait(request.remote or "")
        if wait:
            raise Refused(429, f"No more than {self._limits.rate:g} photos a second, please.", wait)
        self._waiting += 1
        try:
            try:
                name, photo = await asyncio.wait_for(self._read(request), self._limits.upload_seconds)
            except asyncio.TimeoutError:
                raise Refused(408, f"The photo took more than {self._limits.upload_seconds:g} s to arrive.") from None
            except ConnectionError:
                raise Refused(400, "The connection ended before the photo did.") from None  # nobody will read it
            await self._check_pixels(photo)
            score = replace(await self._thread.score(photo), path=name)
        finally:
            self._waiting -= 1
        return web.json_response(score.as_row(), status=200 if score.error is None else 422)

    async def _read(self, request: web.Request) -> tuple[str, bytes]:
        """Returns a photo's name and content; the name is empty if the photo has none."""
        self._check_bytes(request.content_length or 0)
        if request.content_type == "multipart/form-data":
            try:
                part = await (await request.multipart()).next()
            except ValueError as error:
                raise Refused(400, f"The form cannot be read ({error}).") from None
            if not isinstance(part, BodyPartReader) or part.filename is None:
                raise Refused(400, "The form must begin with the photo: curl -F photo=@photo.jpg")
            return part.filename, await self._bounded(lambda: part.read_chunk(_CHUNK))
        return "", await self._bounded(lambda: request.content.read(_CHUNK))

    async def _bounded(self, read: Callable[[], Awaitable[bytes]]) -> bytes:
        photo = bytearray()
        while chunk := await read():
            photo += chunk
            self._check_bytes(len(photo))
        if not photo:
            raise Refused(400, "There is no photo: curl --data-binary @photo.jpg")
        return bytes(photo)

    def _check_bytes(self, count: int) -> None:
        if count > self._limits.max_bytes:
            raise Refused(413, f"A photo may have {self._limits.max_bytes / 1e6:g} MB here.")

    async def _check_pixels(self, photo: bytes) -> None:
        try:
            width, height = await asyncio.to_thread(photo_size, photo)
        except PhotoError:
            return  # the row will name the error
        if width * height > self._limits.max_pixels:
            raise Refused(413, f"A photo may have {self._limits.max_pixels / 1e6:g} megapixels here.")

    @web.middleware
    async def _guard(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        try:
            if not host_is_ours(request.headers.get("Host", ""), loopback=self._loopback, names=self._names):
                raise Refused(421, "This service has another host name; allow this one with --allow-host.")
            if request.method != "GET" and comes_from_another_site(request.headers):
                raise Refused(403, "Pages of other sites may not ask this service.")
            response = await handler(request)
        except Refused as refusal:
            response = web.json_response({"error": str(refusal)}, status=refusal.status)
            if refusal.retry_after is not None:
                response.headers["Retry-After"] = str(math.ceil(refusal.retry_after))
        except web.HTTPException as error:
            response = web.json_response({"error": error.reason}, status=error.status)
        response.headers.update(self._headers)
        return response


def _policy(page: str) -> str:
    """Returns a content security policy that allows the page's own script and style, and nothing else."""

    def sources(tag: str) -> str:
        contents = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        hashes = (base64.b64encode(hashlib.sha256(content.encode()).digest()).decode() for content in contents)
        return " ".join(f"'sha256-{one}'" for one in hashes)

    return (
        f"default-src 'none'; script-src {sources('script')}; style-src {sources('style')}; img-src blob: data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
