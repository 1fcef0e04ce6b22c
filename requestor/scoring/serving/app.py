"""Serves scores over HTTP: `POST /score` scores a photo, `GET /` returns a page for people, `GET /health` a status."""

from __future__ import annotations

import asyncio
import logging
import math
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial

from aiohttp import BodyPartReader, web
from aiohttp.http import HttpProcessingError

from nima.photos import PhotoError, photo_size
from nima.safe_io import one_line
from requestor.html_templates import inline_sources, templates_of
from requestor.scoring.serving.access import RateLimit, comes_from_another_site, host_is_ours
from requestor.scoring.serving.scoring_thread import ScoringThread

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_CHUNK = 1 << 16
# aiohttp raises these for a body that is not what its headers say.
_UNREADABLE = (ValueError, AssertionError, web.RequestPayloadError, HttpProcessingError)
_LARGE_PHOTOS = 8  # number of photos of the largest size that may wait at the same time; most photos are far smaller

SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
"""Headers of every answer. The page for people has another content security policy, which allows its own script."""


@dataclass(frozen=True)
class ServiceLimits:
    """Holds the limits of one service.

    max_bytes: largest size of a photo's file, in bytes.
    max_pixels: largest number of a photo's pixels; it is checked before the photo is decoded.
    rate: photos a second from one address, on average.
    max_waiting: number of photos, from all addresses, that may wait at the same time.
    max_waiting_each: number of photos from one address that may wait at the same time.
    upload_seconds: seconds within which a whole photo must arrive.
    """

    max_bytes: int = 30_000_000
    max_pixels: int = 60_000_000
    rate: float = 20
    max_waiting: int = 32
    max_waiting_each: int = 8
    upload_seconds: float = 60

    @property
    def max_bytes_waiting(self) -> int:
        """Returns the bytes of all photos that may wait at the same time."""
        return _LARGE_PHOTOS * self.max_bytes


class Refused(Exception):
    """A request is answered with an error instead of a score.

    status: the HTTP status.
    retry_after: seconds after which a retry may help; None if no retry helps.
    """

    def __init__(self, status: int, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after


class _Request(web.Request):
    """A request whose answer has the security headers, even if it is no HTTP and so never reaches the service."""

    async def _prepare_hook(self, response: web.StreamResponse) -> None:
        await super()._prepare_hook(response)
        for name, value in SECURITY_HEADERS.items():
            response.headers.setdefault(name, value)


class _Runner(web.AppRunner):
    async def setup(self) -> None:
        await super().setup()
        assert self.server is not None
        self.server.request_factory = partial(self.app._make_request, _cls=_Request)


def runner_of(app: web.Application) -> web.AppRunner:
    """Returns the runner of a service; it waits ten seconds for requests that have begun when it is ended."""
    log = logging.getLogger("aiohttp.server")
    log.addFilter(_is_ours)
    return _Runner(
        app,
        access_log=None,
        logger=log,
        shutdown_timeout=10,
        keepalive_timeout=15,
        auto_decompress=False,  # no photo needs it, and a few bytes may stand for any number
    )


def _is_ours(record: logging.LogRecord) -> bool:
    """Returns False for the report of a request that is no HTTP: its client has the answer, and may send millions."""
    return record.exc_info is None or not isinstance(record.exc_info[1], HttpProcessingError)


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
        self._waiting: Counter[str] = Counter()  # address → number of photos
        self._bytes_waiting = 0
        self._page = templates_of("requestor.scoring.serving").get_template("page.html").render()
        self._policy = _policy(self._page)

    def app(self) -> web.Application:
        """Makes the application with all routes."""
        app = web.Application(middlewares=[self._guard])
        app.router.add_get("/", self.page)
        app.router.add_get("/health", self.health)
        app.router.add_post("/score", self.score)
        return app

    async def page(self, request: web.Request) -> web.Response:
        """Returns the page for people."""
        headers = {"Content-Security-Policy": self._policy}
        return web.Response(text=self._page, content_type="text/html", headers=headers)

    async def health(self, request: web.Request) -> web.Response:
        """Returns the status, the model, and the number of photos that wait, as JSON."""
        return web.json_response({"status": "ok", "model": self._model, "waiting": self._waiting.total()})

    async def score(self, request: web.Request) -> web.Response:
        """Scores a photo, which is the whole body or the first part of a form, and returns its row as JSON.

        The status is 422 if the photo cannot be scored. Raises `Refused` if a limit is exceeded or no photo arrives.
        """
        client = request.remote or ""
        self._check_waiting(client)
        wait = self._rate.wait(client)
        if wait:
            raise Refused(429, f"No more than {self._limits.rate:g} photos a second, please.", wait)
        arrived = bytearray()
        self._waiting[client] += 1
        try:
            try:
                name = await asyncio.wait_for(self._read(request, arrived), self._limits.upload_seconds)
            except asyncio.TimeoutError:
                raise Refused(408, f"The photo took more than {self._limits.upload_seconds:g} s to arrive.") from None
            except ConnectionError:
                raise Refused(400, "The connection ended before the photo did.") from None  # nobody will read it
            except _UNREADABLE as error:
                raise Refused(400, f"The request cannot be read ({one_line(str(error), 200)}).") from None
            photo = bytes(arrived)
            await self._check_pixels(photo)
            score = replace(await self._thread.score(photo), path=name)
        finally:
            self._bytes_waiting -= len(arrived)
            self._waiting[client] -= 1
            self._waiting += Counter()  # forgets addresses without photos
        return web.json_response(score.as_row(), status=200 if score.error is None else 422)

    def _check_waiting(self, client: str) -> None:
        """Raises `Refused` if no further photo, or none of this client, may wait."""
        waiting = self._waiting.total()
        if waiting >= self._limits.max_waiting:
            raise Refused(503, f"{waiting} photos are waiting already.", 1)
        if self._waiting[client] >= self._limits.max_waiting_each:
            raise Refused(429, f"{self._waiting[client]} of your photos are waiting already.", 1)

    async def _read(self, request: web.Request, photo: bytearray) -> str:
        """Appends a photo's content to `photo` as it arrives, and returns its name, which is empty if it has none."""
        self._check_bytes(request.content_length or 0)
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise Refused(415, "Send the photo's file as it is, without a Content-Encoding.")
        if request.content_type == "multipart/form-data":
            part = await (await request.multipart()).next()
            if not isinstance(part, BodyPartReader) or part.filename is None:
                raise Refused(400, "The form must begin with the photo: curl -F photo=@photo.jpg")
            await self._receive(lambda: part.read_chunk(_CHUNK), photo)
            return part.filename
        await self._receive(lambda: request.content.read(_CHUNK), photo)
        return ""

    async def _receive(self, read: Callable[[], Awaitable[bytes]], photo: bytearray) -> None:
        while chunk := await read():
            photo += chunk
            self._bytes_waiting += len(chunk)
            self._check_bytes(len(photo))
            if self._bytes_waiting > self._limits.max_bytes_waiting:
                raise Refused(503, f"{self._limits.max_bytes_waiting / 1e6:g} MB of photos are waiting already.", 1)
        if not photo:
            raise Refused(400, "There is no photo: curl --data-binary @photo.jpg")

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
        return response


def _policy(page: str) -> str:
    """Returns a content security policy that allows the page's own script and style, and nothing else."""
    return (
        f"default-src 'none'; script-src {inline_sources(page, 'script')}; style-src {inline_sources(page, 'style')}; "
        "img-src blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
