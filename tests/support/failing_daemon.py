"""Stands between a program and a real yagna daemon, and lets chosen requests fail."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal

import aiohttp
from aiohttp import web

Way = Literal["error", "busy", "bad gateway", "late", "hang", "reset", "gone"]
# method and path of every kind of request that a run makes
REQUESTS = (
    ("GET", "/me$"),
    ("POST", "/allocations$"),
    ("GET", "/allocations$"),
    ("GET", "/demandDecorations$"),
    ("DELETE", "/allocations/"),
    ("POST", "/demands$"),
    ("GET", "/demands$"),
    ("GET", "/demands/[^/]+/events$"),
    ("POST", "/demands/[^/]+/proposals/[^/]+$"),
    ("DELETE", "/demands/"),
    ("POST", "/agreements$"),
    ("GET", "/agreements/[^/]+$"),
    ("POST", "/agreements/[^/]+/confirm$"),
    ("POST", "/agreements/[^/]+/wait$"),
    ("POST", "/agreements/[^/]+/terminate$"),
    ("POST", "/activity$"),
    ("POST", "/activity/[^/]+/exec$"),
    ("GET", "/activity/[^/]+/exec/"),
    ("GET", "/activity/[^/]+/usage$"),
    ("DELETE", "/activity/"),
    ("GET", "/debitNoteEvents$"),
    ("GET", "/debitNotes/[^/]+$"),
    ("POST", "/debitNotes/[^/]+/accept$"),
    ("GET", "/invoiceEvents$"),
    ("GET", "/invoices/[^/]+$"),
    ("GET", "/invoices$"),
    ("POST", "/invoices/[^/]+/accept$"),
)
WAYS: tuple[Way, ...] = ("error", "busy", "bad gateway", "late", "hang", "reset")


@dataclass
class Rule:
    """Lets requests fail.

    Attributes:
        method: HTTP method; empty for any.
        path: regular expression, found anywhere in the path.
        way: `late` has the daemon carry out the request, and loses its answer.
        times: number of requests that fail.
        skip: number of requests that succeed before.
        hits: number of requests that have failed.
    """

    method: str
    path: str
    way: Way
    times: int = 1
    skip: int = 0
    hits: int = 0

    def applies(self, request: web.Request) -> bool:
        """Returns True if a request must fail; counts it."""
        if self.method not in ("", request.method) or not re.search(self.path, request.path):
            return False
        if self.hits >= self.times:
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        self.hits += 1
        return True


class FailingDaemon:
    """Passes requests on to a daemon, except those that a rule lets fail.

    Attributes:
        url: its own URL, to be used as YAGNA_API_URL.
        calls: the kinds of requests that were seen: method and path, with `*` in place of ids.
    """

    def __init__(self, daemon: str, rules: Sequence[Rule]) -> None:
        self._daemon = daemon
        self._rules = rules
        self.url = ""
        self.calls: dict[str, int] = {}

    @classmethod
    @asynccontextmanager
    async def before(cls, daemon: str, rules: Sequence[Rule]) -> AsyncIterator[FailingDaemon]:
        """Listens on a free port of this machine."""
        proxy = cls(daemon, rules)
        application = web.Application(client_max_size=2**30)
        application.router.add_route("*", "/{path:.*}", proxy._handle)
        runner = web.AppRunner(application, shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        try:
            async with aiohttp.ClientSession(auto_decompress=False) as proxy._session:
                await web.TCPSite(runner, "127.0.0.1", 0).start()
                proxy.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
                yield proxy
        finally:
            await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        kind = f"{request.method} {kind_of(request.path)}"
        self.calls[kind] = self.calls.get(kind, 0) + 1
        rule = next((rule for rule in self._rules if rule.applies(request)), None)
        if rule is None:
            return await self._pass_on(request)
        if rule.way == "error":
            return web.json_response({"message": "the database is locked"}, status=500)
        if rule.way == "gone":
            return web.Response(status=410)
        if rule.way == "busy":
            return web.Response(status=429)
        if rule.way == "bad gateway":
            return web.Response(status=502, text="<html>bad gateway</html>", content_type="text/html")
        if rule.way == "late":
            await self._pass_on(request)
            return web.Response(status=504)
        if rule.way == "hang":
            await asyncio.sleep(3600)
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async def _pass_on(self, request: web.Request) -> web.Response:
        headers = {name: value for name, value in request.headers.items() if name.lower() not in ("host", "connection")}
        url = self._daemon + request.path_qs
        async with self._session.request(request.method, url, headers=headers, data=await request.read()) as answer:
            kept = {name: value for name, value in answer.headers.items() if name.lower() == "content-type"}
            return web.Response(status=answer.status, body=await answer.read(), headers=kept)


def kind_of(path: str) -> str:
    """Returns a path with `*` in place of each id."""
    return re.sub(r"/(?=[^/]*\d)[\w-]{16,}", "/*", path)
